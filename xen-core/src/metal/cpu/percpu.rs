//! What each CPU has for itself. Found from the stack pointer, see [`crate::metal::mem::stacks::this_cpu`].
// UNSAFETY: shares per-CPU data between a CPU and its interrupt handlers.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use spin::{Mutex, Once};
use x86_64::structures::tss::TaskStateSegment;
use xen_core::hvm::GuestView;
use xen_core::hypervisor::CpuLocal;
use xen_core::machine::CpuMask;
use xen_core::machine::FlushRequests;
use xen_core::num::{CpuId, Vector};

use super::fpu::FpuBuffer;
use super::gdt::Window;
use crate::metal::mem::stacks::{self, Stack};
use crate::metal::svm::SvmCpu;

/// One CPU's data.
pub struct PerCpu {
    /// Its number.
    pub number: u32,
    /// Its local APIC's id.
    pub apic_id: u32,
    /// Vectors that arrived while in the hypervisor.
    pending: [AtomicU64; 4],
    /// A non-maskable interrupt arrived.
    nmi: AtomicBool,
    /// A machine check arrived; its error is in the banks.
    machine_check: AtomicBool,
    /// CR4 bits of the hypervisor; guests' come on top.
    pub host_cr4: AtomicU64,
    /// The library's state of this CPU, borrowed once per entry.
    local: UnsafeCell<CpuLocal>,
    /// Where a task state segment must be: at one address for ever.
    pub tss: TaskStateSegment,
    /// Buffer for FPU state.
    pub fpu: Mutex<FpuBuffer>,
    /// Requests to drop translations.
    pub mailbox: FlushRequests,
    /// The page table of its descriptor window, once that is built.
    pub window: Once<Window>,
    /// What it needs to run guests by AMD-V.
    pub svm: Once<SvmCpu>,
    /// Whose memory copies go to: that of a guest whose addresses the hardware translates, or what is loaded.
    pub view: Mutex<Option<GuestView>>,
}

// SAFETY: `local` is used by its own CPU alone (see `local`), the rest is atomics, a lock, and data that never changes.
unsafe impl Sync for PerCpu {}
// SAFETY: per-CPU data is reached through shared references only.
unsafe impl Send for PerCpu {}

/// CPUs by number.
static ALL: [Once<&'static PerCpu>; CpuMask::CAPACITY as usize] =
    [const { Once::new() }; CpuMask::CAPACITY as usize];
/// CPUs that have their data: their numbers are below this.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// CPUs that take part, by number.
static ONLINE: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// True once the code runs on a per-CPU stack.
static READY: AtomicBool = AtomicBool::new(false);

impl PerCpu {
    /// Data and stacks of the next CPU, the one with this APIC id. Only the first CPU calls this, at boot.
    pub fn create(apic_id: u32) -> &'static Self {
        let number = count();
        let Some(place) = ALL.get(number as usize) else {
            panic!("too many processors")
        };
        let mut tss = TaskStateSegment::new();
        let top = |stack| x86_64::VirtAddr::new(stacks::top(number, stack));
        let frame_end = core::mem::offset_of!(stacks::CpuTop, regs.ss) as u64 + 8;
        tss.privilege_stack_table[0] = top(Stack::Main) + frame_end;
        for stack in [
            Stack::Nmi,
            Stack::DoubleFault,
            Stack::MachineCheck,
            Stack::Debug,
        ] {
            tss.interrupt_stack_table[super::idt::ist_index(stack)] = top(stack);
        }
        let cpu = Box::leak(Box::new(Self {
            number,
            apic_id,
            pending: Default::default(),
            nmi: AtomicBool::new(false),
            machine_check: AtomicBool::new(false),
            host_cr4: AtomicU64::new(0),
            local: UnsafeCell::new(CpuLocal::new(CpuId(number))),
            tss,
            fpu: Mutex::new(FpuBuffer::new()),
            mailbox: FlushRequests::default(),
            window: Once::new(),
            svm: Once::new(),
            view: Mutex::new(None),
        }));
        stacks::create(number, cpu);
        place.call_once(|| cpu);
        COUNT.store(number + 1, Ordering::Release);
        cpu
    }

    /// The library's state of this CPU.
    ///
    /// # Safety
    /// Only for the CPU itself, and only one reference at a time: the entry code takes it once and passes it down.
    #[expect(clippy::mut_from_ref, reason = "the caller vouches for exclusive use")]
    pub unsafe fn local(&self) -> &mut CpuLocal {
        // SAFETY: the caller vouches for exclusive use.
        unsafe { &mut *self.local.get() }
    }

    /// Notes that `vector` arrived.
    pub fn note_interrupt(&self, vector: u8) {
        self.pending[usize::from(vector / 64)].fetch_or(1 << (vector % 64), Ordering::Relaxed);
    }

    /// Takes the highest vector that arrived.
    pub fn take_interrupt(&self) -> Option<Vector> {
        for (index, word) in self.pending.iter().enumerate().rev() {
            let bits = word.load(Ordering::Relaxed);
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                word.fetch_and(!(1 << bit), Ordering::Relaxed);
                return Some(Vector(index as u8 * 64 + bit as u8));
            }
        }
        None
    }

    /// True if `vector` arrived and was not taken.
    pub fn has_noted(&self, vector: u8) -> bool {
        let word = &self.pending[usize::from(vector / 64)];
        word.load(Ordering::Relaxed) & 1 << (vector % 64) != 0
    }

    /// True if a vector, a non-maskable interrupt or a machine check waits.
    pub fn has_pending(&self) -> bool {
        self.nmi.load(Ordering::Relaxed)
            || self.machine_check.load(Ordering::Relaxed)
            || self
                .pending
                .iter()
                .any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Notes a non-maskable interrupt.
    pub fn note_nmi(&self) {
        self.nmi.store(true, Ordering::Relaxed);
    }

    /// Notes a machine check.
    pub fn note_machine_check(&self) {
        self.machine_check.store(true, Ordering::Relaxed);
    }

    /// Takes the machine check.
    pub fn take_machine_check(&self) -> bool {
        self.machine_check.swap(false, Ordering::Relaxed)
    }

    /// Takes the non-maskable interrupt.
    pub fn take_nmi(&self) -> bool {
        self.nmi.swap(false, Ordering::Relaxed)
    }
}

/// The CPU with this number.
pub fn find(cpu: CpuId) -> Option<&'static PerCpu> {
    ALL.get(cpu.0 as usize)?.get().copied()
}

/// Number of CPUs that have their data.
pub fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// CPUs that take part.
pub fn online() -> CpuMask {
    CpuMask::from_words(ONLINE.each_ref().map(|word| word.load(Ordering::SeqCst)))
}

/// From now on the CPU with this number takes part: it answers interrupts.
pub fn set_online(number: u32) {
    if let Some(word) = ONLINE.get(number as usize / 64) {
        word.fetch_or(1 << (number % 64), Ordering::SeqCst);
    }
}

/// From now on the code runs on per-CPU stacks.
pub fn set_ready() {
    READY.store(true, Ordering::Relaxed);
}

/// The CPU's number, also in early boot, when it is the first.
pub fn current_number() -> u32 {
    if READY.load(Ordering::Relaxed) {
        stacks::this_cpu().number
    } else {
        0
    }
}
