//! `xen_version`: what the hypervisor says about itself. Linux also calls it to poll for events.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::version::{BuildId, CompileInfo, FeatureInfo, PlatformParameters, VersionOp};
use hypercall_abi::xen::VmassistType;

use super::Call;
use crate::guest::{GuestAccess, HYPERVISOR_START};
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// Major and minor version of the interface that we implement.
const VERSION: u64 = 4 << 16 | 17;
/// XENVER_extraversion: what Debian 12's Xen reports.
const EXTRA_VERSION: &[u8] = b".7";
/// XENVER_capabilities: the guest types that can be built. Tokens are followed by a space.
const CAPABILITIES: &[u8] = b"xen-3.0-x86_64 ";
/// The same where guests can run in hardware.
const CAPABILITIES_WITH_HVM: &[u8] =
    b"xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ";
/// Feature bits that every guest has that runs in hardware: writable tables, translated frames, vector callback, safe
/// pvclock, vnode in mem_flags, not mapped directly.
const FEATURES_HVM: u32 = 1 | 1 << 2 | 1 << 8 | 1 << 9 | 1 << 13 | 1 << 16;
/// Feature bits (public header features.h) that every PV guest has.
const FEATURES_PV: u32 = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 13 | 1 << 17;
/// XENFEAT_pae_pgdir_above_4gb.
const FEATURE_EXTENDED_CR3: u32 = 1 << 4;
/// XENFEAT_dom0.
const FEATURE_DOM0: u32 = 1 << 11;
/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// `text` NUL-padded to `N` bytes, cut if it is too long.
fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let n = text.len().min(N - 1);
    out[..n].copy_from_slice(&text[..n]);
    out
}

impl<M: Machine> Call<'_, M> {
    pub(super) fn xen_version(&mut self, cmd: u32, arg: GuestHandle<u8>) -> HypercallResult {
        let privileged = self.domain.privileges.control;
        let machine = &self.hv.machine;
        match VersionOp(cmd) {
            VersionOp::VERSION => return Ok(Outcome::Done(VERSION)),
            VersionOp::EXTRAVERSION => machine.write(arg.cast(), &padded::<16>(EXTRA_VERSION))?,
            VersionOp::COMPILE_INFO => {
                let info = CompileInfo {
                    compiler: padded(b"rustc"),
                    compile_by: padded(b"xenolith"),
                    compile_domain: padded(b""),
                    compile_date: padded(b""),
                };
                machine.write(arg.cast(), &info)?;
            }
            VersionOp::CAPABILITIES => {
                let capabilities = if machine.hvm_support().available {
                    CAPABILITIES_WITH_HVM
                } else {
                    CAPABILITIES
                };
                machine.write(arg.cast(), &padded::<1024>(capabilities))?;
            }
            VersionOp::CHANGESET => {
                let changeset = concat!("xenolith ", env!("CARGO_PKG_VERSION"));
                machine.write(arg.cast(), &padded::<64>(changeset.as_bytes()))?;
            }
            VersionOp::PLATFORM_PARAMETERS => {
                machine.write(
                    arg.cast(),
                    &PlatformParameters {
                        virt_start: HYPERVISOR_START,
                    },
                )?;
            }
            VersionOp::GET_FEATURES => {
                let mut info: FeatureInfo = machine.read(arg.cast())?;
                if info.submap_idx != 0 {
                    return Err(Errno::EINVAL.into());
                }
                info.submap = self.features();
                machine.write(arg.cast(), &info)?;
            }
            VersionOp::PAGESIZE => {
                if !arg.is_null() {
                    return Err(Errno::EINVAL.into());
                }
                return Ok(Outcome::Done(PAGE_BYTES));
            }
            VersionOp::GUEST_HANDLE => {
                let handle = *self.domain.handle.lock();
                machine.write(arg.cast(), &handle)?;
            }
            VersionOp::COMMANDLINE => {
                let text = if privileged {
                    self.hv.command_line.as_bytes()
                } else {
                    b"<denied>"
                };
                machine.write(arg.cast(), &padded::<1024>(text))?;
            }
            VersionOp::BUILD_ID => {
                if !privileged {
                    return Err(Errno::EPERM.into());
                }
                return self.build_id(arg);
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// The id goes behind the length that the guest gives for it. Without an argument only its length is told.
    fn build_id(&self, arg: GuestHandle<u8>) -> HypercallResult {
        let id = &self.hv.build_id;
        let mut room = u64::MAX;
        if !arg.is_null() {
            let request: BuildId = self.hv.machine.read(arg.cast())?;
            if request.len == 0 {
                return Err(Errno::EINVAL.into());
            }
            room = request.len.into();
        }
        if id.is_empty() {
            return Err(Errno::ENODATA.into());
        }
        let length = id.len() as u64;
        if !arg.is_null() {
            if room < length {
                return Err(Errno::ENOBUFS.into());
            }
            let at = arg
                .offset(size_of::<BuildId>() as u64)
                .ok_or(Errno::EFAULT)?;
            self.hv.machine.write_bytes(at, id)?;
        }
        Ok(Outcome::Done(length))
    }

    fn features(&self) -> u32 {
        if self.domain.is_translated() {
            return FEATURES_HVM;
        }
        let mut features = FEATURES_PV;
        if self.domain.assists(VmassistType::PAE_EXTENDED_CR3.0) {
            features |= FEATURE_EXTENDED_CR3;
        }
        if self.domain.privileges.hardware {
            features |= FEATURE_DOM0;
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_terminated() {
        assert_eq!(padded::<4>(b"abcdef"), *b"abc\0");
        assert_eq!(padded::<4>(b"a"), *b"a\0\0\0");
    }
}
