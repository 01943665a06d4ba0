//! The console line as domains and operators see it, on a simulated machine.

use std::string::String;
use std::vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::HypercallNr;

use crate::hypervisor::Hypervisor;
use crate::irq::SERIAL_VECTOR;
use crate::num::{CpuId, Pfn};
use crate::sim::{PvGuest, SimMachine, world};

const BUFFER: Pfn = Pfn(1);

fn call(hv: &Hypervisor<SimMachine>, guest: &mut PvGuest, cmd: u64, count: u64, at: u64) -> i64 {
    guest.hypercall(hv, HypercallNr::CONSOLE_IO, [cmd, count, at, 0, 0, 0])
}

fn console(hv: &Hypervisor<SimMachine>) -> String {
    String::from_utf8(hv.machine.take_console()).unwrap()
}

#[test]
fn dom0_writes_as_it_is_across_continuations() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let text: String = (0..100).map(|i| std::format!("line {i}\n")).collect();
    dom0.put(&hv, BUFFER, text.as_bytes());
    hv.machine.take_console();
    hv.machine.yield_after(Some(1));
    let at = dom0.va(BUFFER);
    assert_eq!(call(&hv, &mut dom0, 0, text.len() as u64, at), 0);
    assert_eq!(console(&hv), text.replace('\n', "\r\n"));
}

#[test]
fn errors_are_as_documented() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let at = dom0.va(BUFFER);
    assert_eq!(call(&hv, &mut dom0, 0, 0, 0), 0);
    assert_eq!(call(&hv, &mut dom0, 0, 8, 0x1000), Errno::EFAULT.to_ret());
    assert_eq!(call(&hv, &mut dom0, 2, 8, at), Errno::ENOSYS.to_ret());
    assert_eq!(call(&hv, &mut dom0, 1, 1 << 31, at), Errno::E2BIG.to_ret());
    for cmd in 0..3 {
        assert_eq!(call(&hv, &mut guest, cmd, 8, at), Errno::EPERM.to_ret());
    }
}

#[test]
fn typed_bytes_reach_dom0_and_survive_a_fault() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.start_console_input();
    assert!(console(&hv).contains(
        "(XEN) *** Serial input to DOM0 (type 'CTRL-a' three times to switch input)\r\n"
    ));
    hv.machine.type_console(b"root\n");
    hv.handle_vector(CpuId(0), SERIAL_VECTOR);
    assert_eq!(call(&hv, &mut dom0, 1, 16, 0x1000), Errno::EFAULT.to_ret());
    let at = dom0.va(BUFFER);
    assert_eq!(call(&hv, &mut dom0, 1, 4, at), 4);
    assert_eq!(
        dom0.load(&hv, at).unwrap() as u32,
        u32::from_le_bytes(*b"root")
    );
    assert_eq!(call(&hv, &mut dom0, 1, 4, at), 1);
    assert_eq!(call(&hv, &mut dom0, 1, 4, at), 0);
}

#[test]
fn three_ctrl_a_lead_to_the_debug_keys() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.start_console_input();
    hv.machine.take_console();
    hv.machine.type_console(b"\x01\x01\x01h");
    hv.handle_vector(CpuId(0), SERIAL_VECTOR);
    let text = console(&hv);
    assert!(text.contains("*** Serial input to Xen"), "{text}");
    assert!(
        text.contains("key 'q' (ascii '71') => dump domain info"),
        "{text}"
    );
    let at = dom0.va(BUFFER);
    assert_eq!(call(&hv, &mut dom0, 1, 16, at), 0);
    // Every key that only prints does print, and none disturbs anything.
    hv.machine.type_console(b"*~\x07");
    hv.handle_vector(CpuId(0), SERIAL_VECTOR);
    let text = console(&hv);
    for expected in [
        "[q: ",
        "General information for domain 0",
        "Physical memory",
        "TSC ",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    dom0.audit(&hv);
}

#[test]
fn registers_are_printed_when_their_processor_passes_by() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.debug_key(b'd');
    hv.machine.take_console();
    dom0.regs.rip = 0xffff_ffff_8123_4567;
    hv.report_registers(CpuId(0), &dom0.vcpu, &dom0.ctx, &dom0.regs);
    assert!(console(&hv).contains("ffffffff81234567"));
    hv.report_registers(CpuId(0), &dom0.vcpu, &dom0.ctx, &dom0.regs);
    assert_eq!(hv.machine.take_console(), vec![]);
}

#[test]
#[should_panic(expected = "sim: halt")]
fn a_power_off_of_dom0_halts() {
    world().hardware_domain_shutdown(0);
}

#[test]
#[should_panic(expected = "sim: reset")]
fn a_reboot_of_dom0_restarts() {
    world().hardware_domain_shutdown(1);
}
