//! Kernels that do what ends a domain. The word on the command line names the way; a kernel that is still there says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest {
    // UNSAFETY: hypercalls and code that are meant to go wrong.
    #![expect(unsafe_code, reason = "the end of a domain is the subject")]

    use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
    use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{
        FLAT_RING3_CS64, FLAT_RING3_SS64, HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START,
    };
    use pv_guest_shim::hypercall_abi::callback::CallbackType;
    use pv_guest_shim::hypercall_abi::sched::ShutdownReason;
    use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};
    use pv_guest_shim::traps::{self, Registers};
    use pv_guest_shim::{events, hypercall, println, sched, shared, start};

    use core::sync::atomic::Ordering;

    pv_guest_shim::entry!(main);

    fn main(start_info: &'static StartInfo) -> ! {
        start::init(start_info);
        let end = start_info.cmd_line.iter().position(|&byte| byte == 0);
        let line = start_info.cmd_line.get(..end.unwrap_or(0)).unwrap_or(&[]);
        let way = core::str::from_utf8(line).unwrap_or("").trim();
        println!("fatal: {way}");
        match way {
            "no-handler" => {
                call(HypercallNr::SET_TRAP_TABLE, [0; 5]);
                run(code_ud2 as *const () as u64);
            }
            "no-event-callback" => {
                traps::register_callback(CallbackType::EVENT, 0, 0);
                raise_event();
            }
            "user-without-table" => enter(FLAT_RING3_CS64.into(), shared::address() + 2048),
            "iret-without-frame" => {
                run_with(code_iret as *const () as u64, 0x7000_0000_0000);
            }
            "stack-in-hypervisor" => {
                run_with(code_fault as *const () as u64, HYPERVISOR_VIRT_START + 64);
            }
            "stack-behind-hypervisor" => {
                run_with(code_fault as *const () as u64, HYPERVISOR_VIRT_END + 32);
            }
            "stack-unmapped" => run_with(code_fault as *const () as u64, 0x7000_0000_0000),
            "stack-non-canonical" => run_with(code_fault as *const () as u64, 0x8000_0000_0000),
            "handler-unmapped" => {
                let mut table = traps::table(&[]);
                for entry in &mut table {
                    if entry.address != 0 {
                        entry.address = 0x7000_0000_0000;
                    }
                }
                hypercall::set_trap_table(&mut table);
                run(code_ud2 as *const () as u64);
            }
            "watchdog" => {
                let mut arg = 0u64;
                hypercall::command(HypercallNr::SCHED_OP, 6, &mut arg);
                loop {
                    sched::yield_now();
                }
            }
            "last-vcpu-down" => {
                call(HypercallNr::VCPU_OP, [2, 0, 0, 0, 0]);
            }
            "shutdown-7" => sched::shutdown(ShutdownReason(7)),
            _ => println!("fatal: no such way"),
        }
        println!("fatal: still there");
        sched::shutdown(ShutdownReason::POWEROFF)
    }

    #[unsafe(naked)]
    extern "C" fn code_ud2() {
        core::arch::naked_asm!("ud2")
    }

    #[unsafe(naked)]
    extern "C" fn code_fault() {
        core::arch::naked_asm!("mov rsp, rbx", "ud2")
    }

    #[unsafe(naked)]
    extern "C" fn code_iret() {
        core::arch::naked_asm!("mov rsp, rbx", "mov eax, 23", "syscall", "ud2")
    }

    fn call(nr: HypercallNr, args: [u64; 5]) {
        // SAFETY: the arguments point at nothing.
        unsafe { hypercall::raw(nr, args) };
    }

    fn run(code: u64) {
        run_with(code, 0);
    }

    /// Runs code with RBX. A trap that reaches the kernel all the same is reported.
    fn run_with(code: u64, rbx: u64) {
        let mut registers = Registers {
            rbx,
            ..Registers::default()
        };
        // SAFETY: the code touches nothing but its stack pointer.
        if let Err(trap) = unsafe { traps::attempt(code, &mut registers) } {
            println!("fatal: trap {} came", trap.frame.vector);
        }
    }

    fn enter(cs: u64, rsp: u64) {
        let context = IretContext {
            rax: 0,
            r11: 0,
            rcx: 0,
            flags: 0,
            rip: code_ud2 as *const () as u64,
            cs,
            rflags: 0,
            rsp,
            ss: FLAT_RING3_SS64.into(),
        };
        // SAFETY: the code is an undefined opcode.
        let trap = unsafe { traps::attempt_iret(&context, &mut Registers::default()) };
        println!("fatal: trap {} came", trap.frame.vector);
    }

    fn raise_event() {
        if let Ok(port) = events::bind_ipi(0) {
            let (word, bit) = shared::mask_word(port);
            word.fetch_and(!bit, Ordering::Relaxed);
            let _ = events::send(port);
        }
        shared::upcall_mask().store(0, Ordering::Relaxed);
        sched::yield_now();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a PV guest: build it with --target x86_64-unknown-none");
}
