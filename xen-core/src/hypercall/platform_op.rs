//! `platform_op`: the machine itself, for the control domain (public header platform.h).
//!
//! Order of the checks: `EFAULT`, `EACCES` for another interface version, `EPERM`, then the operation.

mod efi;
mod power;

use alloc::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::platform::{
    CoreParking, CoreParkingType, EnterAcpiSleep, FirmwareDiskInfo, FirmwareDiskMbrSignature,
    FirmwareInfo, FirmwareInfoType, PcpuFlags, PcpuVersion, Pcpuinfo, PlatformCmd, PlatformOp,
    PlatformQuirk, ReadMemtype, ResourceEntry, ResourceOp, ResourceOpCmd, XENPF_INTERFACE_VERSION,
};
use zerocopy::{Immutable, IntoBytes};

use super::Call;
use crate::console::Level;
use crate::guest::GuestAccess;
use crate::machine::{CpuMask, Machine, WallTime};
use crate::num::CpuId;
use crate::outcome::{HypercallResult, Outcome};

/// Where the union begins in `struct xen_platform_op`.
const UNION: u64 = 8;
/// Where the union begins in `struct xenpf_firmware_info`.
const FIRMWARE_UNION: u64 = 8;
/// Where `edid` and `edd_params` are read from: handles in unions that are written back in part only.
const VBEDDC_TRANSFER_TIME: u64 = 1;

/// Accesses that one XENPF_resource_op may make.
const MAX_RESOURCE_ENTRIES: u32 = 3;

const ACPI_S3: u32 = 3;
const ACPI_S5: u32 = 5;
/// SLP_EN of PM1_CNT (ACPI specification, PM1 control registers).
const ACPI_SLEEP_ENABLE: u16 = 1 << 13;

const MSR_TSC: u64 = 0x10;
const MSR_MTRR_CAP: u32 = 0xfe;
const MSR_MTRR_PHYSBASE0: u32 = 0x200;
const MTRR_VALID: u64 = 1 << 11;
/// Frame bits of an MTRR on a processor with the widest physical addresses.
const MTRR_FRAMES: u64 = 0x000f_ffff_ffff_f000;

impl<M: Machine> Call<'_, M> {
    pub(super) fn platform_op(&mut self, handle: GuestHandle<PlatformOp>) -> HypercallResult {
        let op: PlatformOp = self.hv.machine.read(handle)?;
        if op.interface_version != XENPF_INTERFACE_VERSION {
            return Err(Errno::EACCES.into());
        }
        if !self.domain.privileges.control {
            return Err(Errno::EPERM.into());
        }
        let union = handle.addr().wrapping_add(UNION);
        match op.cmd {
            PlatformCmd::SETTIME32 => {
                let arg = op.u.as_settime32();
                self.hv.set_wallclock(
                    WallTime {
                        secs: arg.secs.into(),
                        nanos: arg.nsecs,
                    },
                    arg.system_time,
                );
            }
            PlatformCmd::SETTIME64 => {
                let arg = op.u.as_settime64();
                if arg.mbz != 0 {
                    return Err(Errno::EINVAL.into());
                }
                self.hv.set_wallclock(
                    WallTime {
                        secs: arg.secs,
                        nanos: arg.nsecs,
                    },
                    arg.system_time,
                );
            }
            PlatformCmd::READ_MEMTYPE => self.read_memory_type(union, op.u.as_read_memtype())?,
            PlatformCmd::PLATFORM_QUIRK => match op.u.as_platform_quirk().quirk_id {
                // Interrupts stay where their event channel is, and the index register is written for each access.
                PlatformQuirk::NOIRQBALANCING
                | PlatformQuirk::IOAPIC_BAD_REGSEL
                | PlatformQuirk::IOAPIC_GOOD_REGSEL => {}
                _ => return Err(Errno::EINVAL.into()),
            },
            PlatformCmd::FIRMWARE_INFO => self.firmware_info(union, op.u.as_firmware_info())?,
            PlatformCmd::ENTER_ACPI_SLEEP => self.enter_acpi_sleep(op.u.as_enter_acpi_sleep())?,
            PlatformCmd::SET_PROCESSOR_PMINFO => self.set_pminfo(op.u.as_set_pminfo())?,
            PlatformCmd::GET_CPUINFO => self.get_cpuinfo(union, op.u.as_pcpu_info())?,
            PlatformCmd::GET_CPU_VERSION => self.get_cpu_version(union, op.u.as_pcpu_version())?,
            PlatformCmd::CPU_ONLINE => self.cpu_online(op.u.as_cpu_ol().cpuid)?,
            PlatformCmd::CPU_OFFLINE => self.cpu_offline(op.u.as_cpu_ol().cpuid)?,
            PlatformCmd::CORE_PARKING => self.core_parking(union, op.u.as_core_parking())?,
            // ABI: without EFI, and with EFI but without its runtime services, which stay unused here.
            PlatformCmd::EFI_RUNTIME_CALL if self.hv.firmware.efi.is_none() => {
                return Err(Errno::ENOSYS.into());
            }
            PlatformCmd::EFI_RUNTIME_CALL => return Err(Errno::EOPNOTSUPP.into()),
            PlatformCmd::RESOURCE_OP => return self.resource_op(op.u.as_resource_op()),
            // Memory types stay as the firmware set them; microcode, symbols, hot-plug, and frequency control by the
            // domain are not offered.
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(Outcome::Done(0))
    }

    /// Writes one output field.
    fn answer<T: IntoBytes + Immutable>(&self, addr: u64, value: &T) -> Result<(), Errno> {
        self.hv.machine.write_bytes(addr, value.as_bytes())
    }

    /// One variable-range MTRR (SDM volume 3, 12.11.2.3).
    fn read_memory_type(&self, union: u64, mut arg: ReadMemtype) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let ranges = machine
            .read_msr(MSR_MTRR_CAP)
            .map_or(0, |cap| (cap & 0xff) as u32);
        if arg.reg >= ranges {
            return Err(Errno::EINVAL);
        }
        let index = MSR_MTRR_PHYSBASE0 + arg.reg * 2;
        let base = machine.read_msr(index).ok_or(Errno::EINVAL)?;
        let mask = machine.read_msr(index + 1).ok_or(Errno::EINVAL)?;
        let frames = mask & MTRR_FRAMES;
        if mask & MTRR_VALID == 0 || frames == 0 {
            (arg.mfn, arg.nr_mfns, arg.r#type) = (0, 0, 0);
        } else {
            arg.mfn = (base & MTRR_FRAMES) >> 12;
            // Sizes are powers of two: the lowest bit of the mask.
            arg.nr_mfns = (frames & frames.wrapping_neg()) >> 12;
            arg.r#type = (base & 0xff) as u32;
        }
        self.answer(union, &arg)
    }

    fn firmware_info(&self, union: u64, arg: FirmwareInfo) -> Result<(), Errno> {
        let known = &self.hv.firmware;
        let index = arg.index as usize;
        let answer_at = union.wrapping_add(FIRMWARE_UNION);
        match arg.r#type {
            FirmwareInfoType::DISK_INFO => {
                let disk = known.disks.get(index).ok_or(Errno::ESRCH)?;
                let room: GuestHandle<u16> = arg.u.as_disk_info().edd_params.cast();
                let room = usize::from(self.hv.machine.read(room)?);
                let length = room.min(disk.parameters.len());
                let params = arg.u.as_disk_info().edd_params;
                self.hv
                    .machine
                    .write_bytes(params.addr(), &disk.parameters[..length])?;
                let length = u16::try_from(length).map_err(|_| Errno::EINVAL)?;
                self.hv.machine.write(params.cast(), &length)?;
                let info = FirmwareDiskInfo {
                    device: disk.device,
                    version: disk.version,
                    interface_support: disk.interface_support,
                    legacy_max_cylinder: disk.max_cylinder,
                    legacy_max_head: disk.max_head,
                    legacy_sectors_per_track: disk.sectors_per_track,
                    edd_params: params,
                };
                self.answer(answer_at, &info)
            }
            FirmwareInfoType::DISK_MBR_SIGNATURE => {
                let found = known.mbr_signatures.get(index).ok_or(Errno::ESRCH)?;
                let info = FirmwareDiskMbrSignature {
                    device: found.device,
                    _pad: [0; 3],
                    mbr_signature: found.signature,
                };
                self.answer(answer_at, &info)
            }
            FirmwareInfoType::VBEDDC_INFO => {
                let screen = known
                    .screen
                    .as_ref()
                    .filter(|_| index == 0)
                    .ok_or(Errno::ESRCH)?;
                self.answer(answer_at, &screen.capabilities)?;
                self.answer(
                    answer_at.wrapping_add(VBEDDC_TRANSFER_TIME),
                    &screen.transfer_time,
                )?;
                let edid = arg.u.as_vbeddc_info().edid;
                self.hv.machine.write_bytes(edid.addr(), &screen.edid)
            }
            FirmwareInfoType::KBD_SHIFT_FLAGS => {
                if index != 0 {
                    return Err(Errno::ESRCH);
                }
                self.answer(answer_at, &known.keyboard_flags)
            }
            FirmwareInfoType::EFI_INFO => self.efi_info(answer_at, arg.index, arg.u.as_efi_info()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn enter_acpi_sleep(&self, arg: EnterAcpiSleep) -> Result<(), Errno> {
        // No extended sleep registers are known of (hardware-reduced ACPI), so the flag is as wrong as any other.
        let mismatch = arg.val_b != 0 && (arg.val_a ^ arg.val_b) & ACPI_SLEEP_ENABLE != 0;
        if arg.flags != 0 || mismatch || !(1..=ACPI_S5).contains(&arg.sleep_state) {
            return Err(Errno::EINVAL);
        }
        // The processor comes out of S3 in reset state; there is nothing to wake up to.
        if arg.sleep_state == ACPI_S3 {
            return Err(Errno::EOPNOTSUPP);
        }
        let state = arg.sleep_state;
        self.hv.print_at(
            Level::Info,
            format_args!("Preparing system for ACPI S{state} state."),
        );
        self.hv.print(format_args!("Entering ACPI S{state} state."));
        self.hv
            .machine
            .enter_acpi_sleep(state, arg.val_a, arg.val_b);
        // Only S1 and S2 come back where they began.
        if state < ACPI_S3 {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    fn is_present(&self, cpu: u32) -> bool {
        cpu < CpuMask::CAPACITY && self.hv.machine.apic_id(CpuId(cpu)).is_some()
    }

    fn last_present(&self) -> u32 {
        (0..CpuMask::CAPACITY)
            .rev()
            .find(|&cpu| self.is_present(cpu))
            .unwrap_or(0)
    }

    fn get_cpuinfo(&self, union: u64, mut arg: Pcpuinfo) -> Result<(), Errno> {
        let cpu = CpuId(arg.xen_cpuid);
        let apic_id = if self.is_present(cpu.0) {
            self.hv.machine.apic_id(cpu)
        } else {
            None
        };
        arg.flags = match apic_id {
            Some(apic_id) => {
                arg.apic_id = apic_id;
                arg.acpi_id = self.hv.firmware.acpi_id(apic_id).unwrap_or(cpu.0);
                let online = self.hv.machine.online().contains(cpu);
                if online { PcpuFlags::ONLINE.bits() } else { 0 }
            }
            None => PcpuFlags::INVALID.bits(),
        };
        arg.max_present = self.last_present();
        self.answer(union, &arg)
    }

    fn get_cpu_version(&self, union: u64, mut arg: PcpuVersion) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let online =
            arg.xen_cpuid < CpuMask::CAPACITY && machine.online().contains(CpuId(arg.xen_cpuid));
        arg.vendor_id = [0; 12];
        (arg.family, arg.model, arg.stepping) = (0, 0, 0);
        if online {
            let vendor = machine.cpuid(0, 0);
            for (to, word) in arg
                .vendor_id
                .chunks_exact_mut(4)
                .zip([vendor.b, vendor.d, vendor.c])
            {
                to.copy_from_slice(&word.to_le_bytes());
            }
            (arg.family, arg.model, arg.stepping) = signature(machine.cpuid(1, 0).a);
        }
        arg.max_present = self.last_present();
        self.answer(union, &arg)
    }

    fn cpu_online(&self, cpu: u32) -> Result<(), Errno> {
        if !self.is_present(cpu) {
            return Err(Errno::EINVAL);
        }
        // What is not up was left out at boot (option `maxcpus=`), and cannot be started later.
        if self.hv.machine.online().contains(CpuId(cpu)) {
            Ok(())
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }

    fn cpu_offline(&self, cpu: u32) -> Result<(), Errno> {
        if cpu == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if !self.is_present(cpu) {
            return Err(Errno::EINVAL);
        }
        if self.hv.machine.online().contains(CpuId(cpu)) {
            Err(Errno::EOPNOTSUPP)
        } else {
            Ok(())
        }
    }

    fn core_parking(&self, union: u64, mut arg: CoreParking) -> Result<(), Errno> {
        match arg.r#type {
            // No core is ever parked.
            CoreParkingType::SET if arg.idle_nums == 0 => Ok(()),
            CoreParkingType::SET => Err(Errno::ENOSYS),
            CoreParkingType::GET => {
                arg.idle_nums = 0;
                self.answer(union, &arg)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// A batch of MSR accesses. Returns how many were made; the entry after them holds the error.
    fn resource_op(&self, arg: ResourceOp) -> HypercallResult {
        let machine = &self.hv.machine;
        if arg.nr_entries == 0 {
            return Ok(Outcome::Done(0));
        }
        if arg.nr_entries > MAX_RESOURCE_ENTRIES {
            return Err(Errno::EINVAL.into());
        }
        let mut entries: Vec<ResourceEntry> = Vec::new();
        for i in 0..arg.nr_entries {
            entries.push(machine.read_at(arg.entries, i.into())?);
        }
        let mut done = 0u64;
        for entry in &mut entries {
            if let Err(errno) = check_resource_access(entry) {
                entry.u.set_ret(errno.to_ret() as i32);
                break;
            }
            // The one register that is allowed: time, not raw ticks.
            entry.val = machine.now_ns();
            done += 1;
        }
        let online = arg.cpu < CpuMask::CAPACITY && machine.online().contains(CpuId(arg.cpu));
        if done > 0 && !online {
            return Err(Errno::ENODEV.into());
        }
        for (i, entry) in (0..=done).zip(&entries) {
            machine.write_at(arg.entries, i, entry)?;
        }
        Ok(Outcome::Done(done))
    }
}

/// Whether the hypervisor makes an access for the domain: as Xen without monitoring hardware, it reads the TSC.
fn check_resource_access(entry: &ResourceEntry) -> Result<(), Errno> {
    if entry.rsvd != 0 {
        return Err(Errno::EINVAL);
    }
    match ResourceOpCmd(entry.u.as_cmd()) {
        ResourceOpCmd::MSR_READ | ResourceOpCmd::MSR_WRITE if entry.idx >> 32 != 0 => {
            Err(Errno::EINVAL)
        }
        ResourceOpCmd::MSR_READ if entry.idx == MSR_TSC => Ok(()),
        ResourceOpCmd::MSR_READ | ResourceOpCmd::MSR_WRITE => Err(Errno::EPERM),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Family, model and stepping of a processor signature (SDM volume 2, CPUID leaf 1).
fn signature(eax: u32) -> (u32, u32, u32) {
    let (family, model, stepping) = (eax >> 8 & 0xf, eax >> 4 & 0xf, eax & 0xf);
    let extended_model = eax >> 16 & 0xf;
    let model = if family == 6 || family == 0xf {
        extended_model << 4 | model
    } else {
        model
    };
    let family = if family == 0xf {
        family + (eax >> 20 & 0xff)
    } else {
        family
    };
    (family, model, stepping)
}

#[cfg(test)]
mod tests;
