"""The residence permit: identity, service and bank sections."""
