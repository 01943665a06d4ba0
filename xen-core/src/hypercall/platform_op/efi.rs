//! XENPF_firmware_info, EFI's part.

use hypercall_abi::errno::Errno;
use hypercall_abi::platform::{EfiInfo, EfiInfoCfg, FirmwareEfiInfo};

use super::super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;

/// Where `revision` stands in the answer about the vendor; the caller's buffer is described behind it.
const VENDOR_REVISION: u64 = 0;

impl<M: Machine> Call<'_, M> {
    /// What the hardware domain asks instead of reading the system table, which describes memory that is not its own.
    pub(super) fn efi_info(
        &self,
        answer_at: u64,
        what: FirmwareEfiInfo,
        arg: EfiInfo,
    ) -> Result<(), Errno> {
        let efi = self.hv.firmware.efi.as_ref().ok_or(Errno::ENOSYS)?;
        match what {
            FirmwareEfiInfo::EFI_VERSION => self.answer(answer_at, &efi.version),
            // ABI: the answer of a hypervisor that does not use the runtime services.
            FirmwareEfiInfo::EFI_RT_VERSION => Err(Errno::ENODEV),
            FirmwareEfiInfo::EFI_CONFIG_TABLE => {
                let cfg = EfiInfoCfg {
                    addr: efi.config_table,
                    nent: efi.config_entries,
                    _pad: [0; 4],
                };
                self.answer(answer_at, &cfg)
            }
            FirmwareEfiInfo::EFI_VENDOR => {
                let vendor = arg.as_vendor();
                let room = vendor.bufsz as usize / size_of::<u16>();
                let name = efi.vendor.iter().copied().chain([0]);
                for (i, letter) in (0..).zip(name.take(room)) {
                    self.hv.machine.write_at(vendor.name, i, &letter)?;
                }
                self.answer(
                    answer_at.wrapping_add(VENDOR_REVISION),
                    &efi.firmware_revision,
                )
            }
            FirmwareEfiInfo::EFI_MEM_INFO => {
                let mut mem = arg.as_mem();
                let inside = |start, end| (start..end).contains(&mem.addr);
                let found = efi
                    .memory
                    .iter()
                    .find(|known| inside(known.range.start, known.range.end))
                    .ok_or(Errno::ESRCH)?;
                mem.r#type = found.kind;
                mem.attr = found.attributes;
                // ABI: never more than was asked for.
                mem.size = mem.size.min(found.range.end - mem.addr);
                self.answer(answer_at, &mem)
            }
            _ => Err(Errno::EINVAL),
        }
    }
}
