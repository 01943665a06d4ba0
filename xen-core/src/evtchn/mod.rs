//! Event channels of one domain.
/// All ports of a domain.
#[derive(Debug)]
pub struct EventChannels;
