//! Grant table of one domain and its map-track table.
/// Grants of a domain.
#[derive(Debug)]
pub struct GrantTable;
