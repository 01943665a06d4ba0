//! What UEFI told, for the control domain (XEN_FW_EFI_INFO): above all where its configuration table is, which leads to
//! the ACPI and SMBIOS tables.

use hypercall_abi::errno::Errno;
use hypercall_abi::platform::{EfiInfo, EfiInfoCfg, EfiInfoMem, EfiInfoVendor, FirmwareEfiInfo};

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;

impl<M: Machine> Call<'_, M> {
    /// Answers `index`, a [`FirmwareEfiInfo`], at guest address `answer_at`.
    pub(super) fn efi_info(&self, answer_at: u64, index: u32, arg: EfiInfo) -> Result<(), Errno> {
        // ABI: the answer of a hypervisor that was not started by EFI.
        let efi = self.hv.firmware.efi.as_ref().ok_or(Errno::ENOSYS)?;
        let table = &efi.system_table;
        match FirmwareEfiInfo(index) {
            FirmwareEfiInfo::EFI_VERSION => self.answer(answer_at, &table.revision),
            FirmwareEfiInfo::EFI_CONFIG_TABLE => {
                let answer = EfiInfoCfg {
                    addr: table.config_table,
                    nent: table.config_entries,
                    _pad: [0; 4],
                };
                self.answer(answer_at, &answer)
            }
            FirmwareEfiInfo::EFI_VENDOR => {
                let vendor = arg.as_vendor();
                // As many characters as the buffer takes, the NUL among them only if it fits.
                let room = vendor.bufsz as usize / size_of::<u16>();
                let characters = &table.vendor[..room.min(table.vendor.len())];
                for (at, character) in (0..).zip(characters) {
                    let to = vendor.name.addr().wrapping_add(2 * at);
                    self.hv.machine.write_bytes(to, &character.to_le_bytes())?;
                }
                let answer = EfiInfoVendor {
                    revision: table.firmware_revision,
                    ..vendor
                };
                self.answer(answer_at, &answer)
            }
            FirmwareEfiInfo::EFI_MEM_INFO => {
                let asked = arg.as_mem();
                let found = efi.descriptor(asked.addr).ok_or(Errno::ESRCH)?;
                let rest = found.size - (asked.addr - found.start);
                let answer = EfiInfoMem {
                    size: asked.size.min(rest),
                    attr: found.attributes,
                    r#type: found.kind,
                    ..asked
                };
                self.answer(answer_at, &answer)
            }
            // No runtime services, and nothing was asked of the boot services before the loader ended them.
            FirmwareEfiInfo::EFI_RT_VERSION => Err(Errno::EOPNOTSUPP),
            FirmwareEfiInfo::EFI_PCI_ROM => Err(Errno::ENOENT),
            FirmwareEfiInfo::EFI_APPLE_PROPERTIES => Err(Errno::ENODATA),
            _ => Err(Errno::EINVAL),
        }
    }
}
