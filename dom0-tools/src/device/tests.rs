//! Nodes of devices.
