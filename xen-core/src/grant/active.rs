//! What is in use of a grant: pins by kind of use.

use hypercall_abi::xen::DomId;

use crate::num::Mfn;

/// A use of a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Use {
    /// By the processor: a page-table entry, or a copy in progress.
    pub host: bool,
    /// By a device.
    pub device: bool,
    /// For writing too.
    pub write: bool,
}

/// How often a grant is in use, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    host_read: u32,
    host_write: u32,
    device_read: u32,
    device_write: u32,
}

impl Pins {
    /// No use.
    pub const NONE: Self = Self {
        host_read: 0,
        host_write: 0,
        device_read: 0,
        device_write: 0,
    };

    /// Uses by the processor: for reading only, and for writing.
    #[must_use]
    pub const fn host(&self) -> (u32, u32) {
        (self.host_read, self.host_write)
    }

    /// Whether nothing uses the grant.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.host_read == 0 && self.device_read == 0 && !self.any_write()
    }

    /// Whether something uses it for writing.
    #[must_use]
    pub const fn any_write(&self) -> bool {
        self.host_write != 0 || self.device_write != 0
    }

    /// Whether devices use it.
    #[must_use]
    pub const fn any_device(&self) -> bool {
        self.device_read != 0 || self.device_write != 0
    }

    /// With one more use; `None` if a counter is full.
    #[must_use]
    pub fn with(mut self, used: Use) -> Option<Self> {
        for counter in self.counters(used).into_iter().flatten() {
            *counter = counter.checked_add(1)?;
        }
        Some(self)
    }

    /// With one use less; `None` if there is no such use.
    #[must_use]
    pub fn without(mut self, used: Use) -> Option<Self> {
        for counter in self.counters(used).into_iter().flatten() {
            *counter = counter.checked_sub(1)?;
        }
        Some(self)
    }

    fn counters(&mut self, used: Use) -> [Option<&mut u32>; 2] {
        let (host, device) = if used.write {
            (&mut self.host_write, &mut self.device_write)
        } else {
            (&mut self.host_read, &mut self.device_read)
        };
        [used.host.then_some(host), used.device.then_some(device)]
    }
}

/// A grant in use. The grantee and the frame count only while there are pins.
#[derive(Clone, Copy, Debug)]
pub struct Active {
    /// Uses.
    pub pins: Pins,
    /// Who uses it.
    pub grantee: DomId,
    /// The frame that the entry named when the first use began; the guest may have written another one since.
    pub frame: Mfn,
}

impl Active {
    /// Not in use.
    #[must_use]
    pub const fn idle() -> Self {
        Self {
            pins: Pins::NONE,
            grantee: DomId::INVALID,
            frame: Mfn::INVALID,
        }
    }
}
