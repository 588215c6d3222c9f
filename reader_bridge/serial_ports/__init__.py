"""Serial ports, local and over the network; the only folder that imports pyserial."""
