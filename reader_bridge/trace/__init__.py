"""What passed between a reader and a card, written down: record, read, decode, compare, replay, export and import."""
