//! Tables of MSI-X that domains must not write: a table decides where a device writes its messages.
//!
//! As Xen does, the pages with the table and the pending bits of a function are read-only for every domain, the hardware
//! domain included, from its first message to its last, or while PHYSDEVOP_prepare_msix holds.

use alloc::vec::Vec;
use core::ops::Range;

use super::msi::{MsiSource, PciAddress};
use super::state::{Board, State};
use super::table::IrqTable;
use crate::num::{Mfn, PAGE_SIZE};

/// Frames that are read-only, and for which function.
#[derive(Debug, Default)]
pub(super) struct MsixTables(Vec<(PciAddress, Range<u64>)>);

impl MsixTables {
    fn protect(&mut self, device: PciAddress, areas: [Option<Range<u64>>; 2]) {
        if self.0.iter().any(|(known, _)| *known == device) {
            return;
        }
        for bytes in areas.into_iter().flatten() {
            let frames = bytes.start / PAGE_SIZE..bytes.end.div_ceil(PAGE_SIZE);
            self.0.push((device, frames));
        }
    }

    fn contains(&self, mfn: Mfn) -> bool {
        self.0.iter().any(|(_, frames)| frames.contains(&mfn.0))
    }
}

impl State {
    /// Protects the table of a function if something uses it, and gives it back otherwise.
    pub(super) fn update_msix_protection(&mut self, board: &impl Board, device: PciAddress) {
        let prepared = self
            .devices
            .get_mut(device)
            .is_ok_and(|device| device.msix_prepared);
        let used = self
            .msi_sources()
            .any(|(_, source)| source.device == device && source.entry.is_some());
        if prepared || used {
            self.msix
                .protect(device, MsiSource::msix_areas(board, device));
        } else {
            self.msix.0.retain(|(known, _)| *known != device);
        }
    }
}

impl IrqTable {
    /// Whether a device frame holds a table of MSI-X that is in use: nobody may write it.
    #[must_use]
    pub fn is_msix_table(&self, mfn: Mfn) -> bool {
        self.state.lock().msix.contains(mfn)
    }
}
