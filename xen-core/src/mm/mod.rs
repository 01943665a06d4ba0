//! Frames: who owns them, how often they are referred to, what type they have, which are free.
use crate::num::Mfn;
/// Records of all frames, and the allocator.
#[derive(Debug)]
pub struct Memory;
/// Accounting of one domain's frames.
#[derive(Debug)]
pub struct OwnedPages;
impl Memory {
    /// Whether a frame is RAM that the frame table covers.
    #[must_use]
    pub fn is_ram(&self, _mfn: Mfn) -> bool { false }
}
