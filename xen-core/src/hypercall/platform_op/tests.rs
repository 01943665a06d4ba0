//! The errnos of platform_op, and what its calls do, on a simulated machine.

use std::string::String;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::platform::*;
use hypercall_abi::xen::HypercallNr;
use zerocopy::FromZeros;

use super::{MSR_TSC, check_resource_access, signature};
use crate::boot::efi::{Descriptor, EfiFacts, SystemTable};
use crate::boot::firmware::{BiosDisk, MbrSignature};
use crate::hypervisor::Hypervisor;
use crate::machine::WallTime;
use crate::num::Pfn;
use crate::sim::{PvGuest, SimMachine, world};

type World = Hypervisor<SimMachine>;

const ARG: Pfn = Pfn(1);
const BUFFER: Pfn = Pfn(2);

fn op(cmd: PlatformCmd, u: PlatformOpU) -> PlatformOp {
    let mut op = PlatformOp::new_zeroed();
    op.cmd = cmd;
    op.interface_version = XENPF_INTERFACE_VERSION;
    op.u = u;
    op
}

fn call(hv: &World, guest: &mut PvGuest, op: &PlatformOp) -> Result<u64, Errno> {
    let addr = guest.put(hv, ARG, op);
    let returned = guest.hypercall(hv, HypercallNr::PLATFORM_OP, [addr, 0, 0, 0, 0, 0]);
    u64::try_from(returned).map_err(|_| {
        i32::try_from(-returned)
            .ok()
            .and_then(Errno::from_raw)
            .expect("an errno of the contract")
    })
}

/// Word `i` of the union after a call.
fn answer(hv: &World, guest: &PvGuest, i: u64) -> u64 {
    guest.load(hv, guest.va(ARG) + 8 + i * 8).expect("mapped")
}

fn firmware(kind: FirmwareInfoType, index: u32, u: FirmwareInfoU) -> PlatformOp {
    let info = FirmwareInfo {
        r#type: kind,
        index,
        u,
    };
    op(
        PlatformCmd::FIRMWARE_INFO,
        PlatformOpU::from_firmware_info(info),
    )
}

#[test]
fn checks_come_in_the_documented_order() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let fault = guest.hypercall(&hv, HypercallNr::PLATFORM_OP, [0x1000, 0, 0, 0, 0, 0]);
    assert_eq!(fault, Errno::EFAULT.to_ret());
    let mut unknown = op(PlatformCmd(999), PlatformOpU::new_zeroed());
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::EPERM));
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::ENOSYS));
    unknown.interface_version += 1;
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::EACCES));
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::EACCES));
}

#[test]
fn what_is_not_offered_says_so() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    for cmd in [31, 32, 35, 49, 52, 53, 58, 59, 63] {
        let op = op(PlatformCmd(cmd), PlatformOpU::new_zeroed());
        assert_eq!(
            call(&hv, &mut dom0, &op),
            Err(Errno::ENOSYS),
            "{:?}",
            op.cmd
        );
    }
}

#[test]
fn the_wall_clock_is_set_for_system_time_0() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut time = Settime64 {
        secs: 1_000_000,
        nsecs: 5,
        mbz: 0,
        system_time: 2_000_000_000,
    };
    let op64 = |time| op(PlatformCmd::SETTIME64, PlatformOpU::from_settime64(time));
    assert_eq!(call(&hv, &mut dom0, &op64(time)), Ok(0));
    assert_eq!(
        *hv.wallclock.lock(),
        WallTime {
            secs: 999_998,
            nanos: 5
        }
    );
    time.mbz = 1;
    assert_eq!(call(&hv, &mut dom0, &op64(time)), Err(Errno::EINVAL));
    let time = Settime32 {
        secs: 77,
        nsecs: 0,
        system_time: 0,
    };
    let op32 = op(PlatformCmd::SETTIME32, PlatformOpU::from_settime32(time));
    assert_eq!(call(&hv, &mut dom0, &op32), Ok(0));
    assert_eq!(*hv.wallclock.lock(), WallTime { secs: 77, nanos: 0 });
}

#[test]
fn a_machine_that_told_nothing_answers_as_a_bios_without_data() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    for (kind, index, expected) in [
        (1, 0, Err(Errno::ESRCH)),
        (2, 0, Err(Errno::ESRCH)),
        (3, 0, Err(Errno::ESRCH)),
        (4, 1, Err(Errno::ENOSYS)),
        (5, 0, Ok(0)),
        (5, 1, Err(Errno::ESRCH)),
        (6, 0, Err(Errno::EINVAL)),
    ] {
        let op = firmware(FirmwareInfoType(kind), index, FirmwareInfoU::new_zeroed());
        assert_eq!(
            call(&hv, &mut dom0, &op),
            expected,
            "type {kind} index {index}"
        );
    }
}

#[test]
fn disks_are_described_within_the_callers_buffer() {
    let mut hv = world();
    hv.firmware.keyboard_flags = 0x20;
    hv.firmware.mbr_signatures.push(MbrSignature {
        device: 0x80,
        signature: 0xdead_beef,
    });
    hv.firmware.disks.push(BiosDisk {
        device: 0x80,
        version: 0x30,
        interface_support: 5,
        max_cylinder: 1023,
        max_head: 254,
        sectors_per_track: 63,
        parameters: std::vec![30, 0, 1, 2, 3, 4, 5, 6],
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let keyboard = firmware(
        FirmwareInfoType::KBD_SHIFT_FLAGS,
        0,
        FirmwareInfoU::new_zeroed(),
    );
    assert_eq!(call(&hv, &mut dom0, &keyboard), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), 0x20);
    let mbr = firmware(
        FirmwareInfoType::DISK_MBR_SIGNATURE,
        0,
        FirmwareInfoU::new_zeroed(),
    );
    assert_eq!(call(&hv, &mut dom0, &mbr), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), 0xdead_beef_0000_0080);
    let at = dom0.put(&hv, BUFFER, &6u64);
    let mut info = FirmwareDiskInfo::new_zeroed();
    info.edd_params = GuestHandle::from_addr(at);
    let disk = firmware(
        FirmwareInfoType::DISK_INFO,
        0,
        FirmwareInfoU::from_disk_info(info),
    );
    assert_eq!(call(&hv, &mut dom0, &disk), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), 0x3ffe_03ff_0005_3080);
    // The length in front, then what fits.
    assert_eq!(dom0.load(&hv, at), Ok(0x0403_0201_0006));
}

fn efi(index: FirmwareEfiInfo, info: EfiInfo) -> PlatformOp {
    firmware(
        FirmwareInfoType::EFI_INFO,
        index.0,
        FirmwareInfoU::from_efi_info(info),
    )
}

#[test]
fn efi_tables_are_found() {
    let mut hv = world();
    hv.firmware.efi = Some(EfiFacts {
        system_table: SystemTable {
            revision: 0x2_0046,
            firmware_revision: 7,
            vendor: [b'E', b'D', b'K', 0].map(u16::from).into_iter().collect(),
            config_table: 0x3f00_0000,
            config_entries: 9,
        },
        memory_map: std::vec![Descriptor {
            start: 0x10_0000,
            size: 0x4000,
            kind: 6,
            attributes: 0xf,
        }],
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let nothing = EfiInfo::new_zeroed();
    let version = efi(FirmwareEfiInfo::EFI_VERSION, nothing);
    assert_eq!(call(&hv, &mut dom0, &version), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), 0x2_0046);
    let table = efi(FirmwareEfiInfo::EFI_CONFIG_TABLE, nothing);
    assert_eq!(call(&hv, &mut dom0, &table), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), 0x3f00_0000);
    assert_eq!(answer(&hv, &dom0, 2), 9);

    // Three characters fit: the NUL does not.
    let at = dom0.put(&hv, BUFFER, &u64::MAX);
    let mut room = EfiInfoVendor::new_zeroed();
    room.bufsz = 7;
    room.name = GuestHandle::from_addr(at);
    let vendor = efi(FirmwareEfiInfo::EFI_VENDOR, EfiInfo::from_vendor(room));
    assert_eq!(call(&hv, &mut dom0, &vendor), Ok(0));
    assert_eq!(answer(&hv, &dom0, 1), (7 << 32) | 7);
    assert_eq!(dom0.load(&hv, at), Ok(0xffff_004b_0044_0045));
    room.name = GuestHandle::from_addr(0xffff_8000_0000_0000);
    let hostile = efi(FirmwareEfiInfo::EFI_VENDOR, EfiInfo::from_vendor(room));
    assert_eq!(call(&hv, &mut dom0, &hostile), Err(Errno::EFAULT));

    // Sizes are cut at the end of the descriptor, however large they are.
    let mut asked = EfiInfoMem::new_zeroed();
    (asked.addr, asked.size) = (0x10_1000, u64::MAX);
    let memory = efi(FirmwareEfiInfo::EFI_MEM_INFO, EfiInfo::from_mem(asked));
    assert_eq!(call(&hv, &mut dom0, &memory), Ok(0));
    assert_eq!(answer(&hv, &dom0, 2), 0x3000);
    assert_eq!(answer(&hv, &dom0, 3), 0xf);
    assert_eq!(answer(&hv, &dom0, 4), 6);
    asked.addr = 0x10_4000;
    let outside = efi(FirmwareEfiInfo::EFI_MEM_INFO, EfiInfo::from_mem(asked));
    assert_eq!(call(&hv, &mut dom0, &outside), Err(Errno::ESRCH));

    let errors = [
        (FirmwareEfiInfo::EFI_RT_VERSION, Errno::EOPNOTSUPP),
        (FirmwareEfiInfo::EFI_PCI_ROM, Errno::ENOENT),
        (FirmwareEfiInfo::EFI_APPLE_PROPERTIES, Errno::ENODATA),
        (FirmwareEfiInfo(7), Errno::EINVAL),
    ];
    for (index, error) in errors {
        assert_eq!(call(&hv, &mut dom0, &efi(index, nothing)), Err(error));
    }
}

#[test]
fn sleep_states_are_checked_and_announced() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut sleep = |sleep_state, val_a, val_b, flags| {
        let arg = EnterAcpiSleep {
            val_a,
            val_b,
            sleep_state,
            flags,
        };
        let op = op(
            PlatformCmd::ENTER_ACPI_SLEEP,
            PlatformOpU::from_enter_acpi_sleep(arg),
        );
        call(&hv, &mut dom0, &op)
    };
    assert_eq!(sleep(0, 0x3c00, 0, 0), Err(Errno::EINVAL));
    assert_eq!(sleep(6, 0x3c00, 0, 0), Err(Errno::EINVAL));
    assert_eq!(sleep(5, 0x3c00, 0, 1), Err(Errno::EINVAL));
    assert_eq!(
        sleep(5, 0x3c00, 0x1c00, 0),
        Err(Errno::EINVAL),
        "SLP_EN in one register only"
    );
    assert_eq!(sleep(3, 0x3c00, 0, 0), Err(Errno::EOPNOTSUPP));
    hv.machine.take_console();
    // The simulated machine stays on.
    assert_eq!(sleep(5, 0x3c00, 0, 0), Err(Errno::EIO));
    let text = String::from_utf8(hv.machine.take_console()).unwrap();
    assert!(text.contains("(XEN) Entering ACPI S5 state."), "{text}");
}

#[test]
fn processor_capabilities_lose_what_is_not_done() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut pminfo = |kind, pdc| {
        let mut arg = SetProcessorPminfo::new_zeroed();
        (arg.id, arg.r#type) = (u32::MAX, kind);
        arg.u.set_pdc(GuestHandle::from_addr(pdc));
        call(
            &hv,
            &mut dom0,
            &op(
                PlatformCmd::SET_PROCESSOR_PMINFO,
                PlatformOpU::from_set_pminfo(arg),
            ),
        )
    };
    assert_eq!(pminfo(PM_CX, 0), Err(Errno::EINVAL), "no such processor");
    assert_eq!(pminfo(PM_PX, 0), Err(Errno::EINVAL));
    assert_eq!(pminfo(PM_TX, 0), Err(Errno::ENOSYS));
    assert_eq!(pminfo(9, 0), Err(Errno::EINVAL));
    assert_eq!(pminfo(PM_PDC, 0x1000), Err(Errno::EFAULT));
    let at = dom0.put(&hv, BUFFER, &[1u32, 1, 0x3fb]);
    let mut arg = SetProcessorPminfo::new_zeroed();
    arg.r#type = PM_PDC;
    arg.u.set_pdc(GuestHandle::from_addr(at));
    let pdc = op(
        PlatformCmd::SET_PROCESSOR_PMINFO,
        PlatformOpU::from_set_pminfo(arg),
    );
    assert_eq!(call(&hv, &mut dom0, &pdc), Ok(0));
    assert_eq!(dom0.load(&hv, at + 8).unwrap() as u32, 0x0fb);
    dom0.put(&hv, BUFFER, &[2u32, 1, 0]);
    assert_eq!(call(&hv, &mut dom0, &pdc), Err(Errno::EINVAL));
}

#[test]
fn idle_and_performance_states_are_taken_by_acpi_number() {
    let mut hv = world();
    // The table calls the only processor 5.
    hv.firmware.processors.push((0, 5));
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut states = [ProcessorCx::new_zeroed(); 3];
    (states[0].r#type, states[0].latency) = (1, 1);
    (states[1].r#type, states[1].latency) = (9, 1);
    (states[2].r#type, states[2].latency) = (2, 50);
    let at = dom0.put(&hv, BUFFER, &states);
    let mut send = |id, kind, count, states: u64| {
        let mut arg = SetProcessorPminfo::new_zeroed();
        (arg.id, arg.r#type) = (id, kind);
        if kind == PM_CX {
            let mut power = ProcessorPower::new_zeroed();
            power.count = count;
            power.states = GuestHandle::from_addr(states);
            arg.u.set_power(power);
        } else {
            let mut perf = ProcessorPerformance::new_zeroed();
            perf.flags = PxFlags::PSS.bits();
            perf.state_count = count;
            perf.states = GuestHandle::from_addr(states);
            arg.u.set_perf(perf);
        }
        let arg = PlatformOpU::from_set_pminfo(arg);
        call(&hv, &mut dom0, &op(PlatformCmd::SET_PROCESSOR_PMINFO, arg))
    };
    assert_eq!(send(0, PM_CX, 3, at), Err(Errno::EINVAL));
    assert_eq!(send(5, PM_CX, 3, 0x1000), Err(Errno::EFAULT));
    assert_eq!(send(5, PM_CX, 3, at), Ok(0));
    assert_eq!(send(5, PM_PX, 0, at), Err(Errno::EINVAL));
    assert_eq!(send(5, PM_PX, 1, at), Ok(0));
    let lines = hv.power.describe();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        lines[2],
        "    C2: type[C2] latency[050] power[0] method[unused]"
    );
}

#[test]
fn processors_are_told_apart_from_those_that_are_not_there() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut info = |xen_cpuid| {
        let mut arg = Pcpuinfo::new_zeroed();
        arg.xen_cpuid = xen_cpuid;
        let op = op(PlatformCmd::GET_CPUINFO, PlatformOpU::from_pcpu_info(arg));
        call(&hv, &mut dom0, &op).map(|_| answer(&hv, &dom0, 1) as u32)
    };
    assert_eq!(info(0), Ok(PcpuFlags::ONLINE.bits()));
    assert_eq!(info(1), Ok(PcpuFlags::INVALID.bits()));
    assert_eq!(info(u32::MAX), Ok(PcpuFlags::INVALID.bits()));
    let mut change = |cmd, cpuid| {
        call(
            &hv,
            &mut dom0,
            &op(cmd, PlatformOpU::from_cpu_ol(CpuOl { cpuid })),
        )
    };
    assert_eq!(change(PlatformCmd::CPU_ONLINE, 0), Ok(0));
    assert_eq!(change(PlatformCmd::CPU_ONLINE, 7), Err(Errno::EINVAL));
    assert_eq!(change(PlatformCmd::CPU_OFFLINE, 0), Err(Errno::EOPNOTSUPP));
    assert_eq!(change(PlatformCmd::CPU_OFFLINE, 7), Err(Errno::EINVAL));
}

#[test]
fn signatures_extend_family_and_model_where_the_base_says_so() {
    assert_eq!(signature(0x0005_06e3), (6, 0x5e, 3));
    assert_eq!(signature(0x00a2_0f12), (0x19, 0x21, 2));
    assert_eq!(signature(0x0000_0543), (5, 4, 3));
}

#[test]
fn only_the_tsc_may_be_read() {
    let entry = |cmd, idx, rsvd| ResourceEntry {
        u: ResourceEntryU::from_cmd(cmd),
        rsvd,
        idx,
        val: 0,
    };
    assert_eq!(check_resource_access(&entry(0, MSR_TSC, 0)), Ok(()));
    assert_eq!(
        check_resource_access(&entry(0, 0x1a0, 0)),
        Err(Errno::EPERM)
    );
    assert_eq!(
        check_resource_access(&entry(1, MSR_TSC, 0)),
        Err(Errno::EPERM)
    );
    assert_eq!(
        check_resource_access(&entry(0, MSR_TSC, 1)),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        check_resource_access(&entry(1, 1 << 32, 0)),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        check_resource_access(&entry(2, MSR_TSC, 0)),
        Err(Errno::EOPNOTSUPP)
    );
}

#[test]
fn a_batch_of_register_accesses_stops_at_the_first_refusal() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let entry = |idx| ResourceEntry {
        u: ResourceEntryU::from_cmd(0),
        rsvd: 0,
        idx,
        val: 0,
    };
    let at = dom0.put(&hv, BUFFER, &[entry(MSR_TSC), entry(0x1a0), entry(MSR_TSC)]);
    let mut batch = |nr_entries, cpu| {
        let arg = ResourceOp {
            nr_entries,
            cpu,
            entries: GuestHandle::from_addr(at),
        };
        call(
            &hv,
            &mut dom0,
            &op(PlatformCmd::RESOURCE_OP, PlatformOpU::from_resource_op(arg)),
        )
    };
    assert_eq!(batch(0, 0), Ok(0));
    assert_eq!(batch(4, 0), Err(Errno::EINVAL));
    assert_eq!(batch(3, 9), Err(Errno::ENODEV));
    assert_eq!(batch(3, 0), Ok(1));
    assert_ne!(dom0.load(&hv, at + 16), Ok(0));
    let refused = dom0.load(&hv, at + 24).unwrap() as u32;
    assert_eq!(refused.cast_signed(), Errno::EPERM.to_ret() as i32);
}
