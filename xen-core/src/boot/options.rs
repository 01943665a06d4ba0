//! Options of the command line.
/// All options.
#[derive(Clone, Debug, Default)]
pub struct Options;
