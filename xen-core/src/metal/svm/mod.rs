//! AMD-V: finding it, switching it on, and running guests (APM volume 2, chapter 15).
//!
//! Each CPU has one control block. A guest's state is copied into it before every entry and out after every exit, so that
//! nothing of a guest is left behind when its vCPU goes elsewhere.
// UNSAFETY: writes control blocks and runs guests from them.

mod convert;
mod run;
pub mod vmcb;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use spin::Once;
use xen_core::machine::HvmSupport;

use self::vmcb::Vmcb;
use crate::metal::cpu::percpu::PerCpu;
use crate::metal::cpu::{cpuid, msr};
use crate::metal::mem::layout::DIRECT_MAP_BASE;
use crate::metal::mem::paging::{PAGE_SIZE, with_tables};

pub use run::run;

/// EFER.SVME.
const EFER_SVME: u64 = 1 << 12;
/// VM_CR.SVMDIS.
const SVM_DISABLED: u64 = 1 << 4;
/// CPUID 0x8000000a EDX: nested paging.
const NESTED_PAGING: u32 = 1;
/// CPUID 0x8000000a EDX: the next RIP is told.
const NEXT_RIP: u32 = 1 << 3;
/// Pages of the permission map of ports.
const PORT_MAP_PAGES: u64 = 3;
/// Pages of the permission map of MSRs.
const MSR_MAP_PAGES: u64 = 2;

/// What a CPU needs to run guests.
pub struct SvmCpu {
    /// Physical address of the control block.
    vmcb: u64,
    /// Physical address of the block with our own VMLOAD state.
    host: u64,
    /// Whose translations the TLB may hold.
    last_tag: AtomicU64,
    /// All translations of guests must go before the next entry.
    flush: AtomicBool,
}

/// What all CPUs share.
struct Shared {
    port_map: u64,
    msr_map: u64,
    next_rip: bool,
}

static SHARED: Once<Shared> = Once::new();
static SUPPORT: Once<HvmSupport> = Once::new();

/// What this machine offers: as the first CPU found it.
pub fn support() -> HvmSupport {
    SUPPORT.get().copied().unwrap_or(HvmSupport {
        reason: "no VT-x or AMD-V",
        ..HvmSupport::default()
    })
}

fn find() -> HvmSupport {
    let absent = |reason| HvmSupport {
        reason,
        ..HvmSupport::default()
    };
    if !cpuid::has_svm() {
        return absent("no AMD-V");
    }
    if msr::try_read(msr::VM_CR).is_some_and(|value| value & SVM_DISABLED != 0) {
        return absent("AMD-V is disabled by the firmware");
    }
    if cpuid::svm_features() & NESTED_PAGING == 0 {
        return absent("AMD-V without nested paging");
    }
    HvmSupport {
        available: true,
        reason: "",
        huge_pages: cpuid::has_1g_pages(),
        intel: false,
    }
}

fn page(addr: u64) -> *mut u8 {
    (DIRECT_MAP_BASE + addr) as *mut u8
}

/// `count` frames that follow each other, zeroed.
fn frames(count: u64) -> u64 {
    with_tables(|tables| {
        let first = tables.allocate();
        for i in 1..count {
            let next = tables.allocate();
            assert_eq!(next, first + i * PAGE_SIZE, "the pool is one range");
        }
        first
    })
}

/// Registers that guests have for themselves: they are part of the state that VMLOAD and VMRUN switch.
const OWN_MSRS: [u32; 7] = [
    msr::FS_BASE,
    msr::GS_BASE,
    msr::KERNEL_GS_BASE,
    msr::STAR,
    msr::LSTAR,
    msr::CSTAR,
    msr::SFMASK,
];

/// The two bits of an MSR in the permission map: first byte and shift.
const fn msr_bits(index: u32) -> Option<(usize, u32)> {
    let (base, offset) = match index {
        0..=0x1fff => (0, index),
        0xc000_0000..=0xc000_1fff => (0x800, index - 0xc000_0000),
        0xc001_0000..=0xc001_1fff => (0x1000, index - 0xc001_0000),
        _ => return None,
    };
    Some((base + offset as usize / 4, offset % 4 * 2))
}

fn make_shared() -> Shared {
    let port_map = frames(PORT_MAP_PAGES);
    let msr_map = frames(MSR_MAP_PAGES);
    // SAFETY: frames of our own pool, in the direct map, that nothing else uses.
    unsafe {
        page(port_map).write_bytes(0xff, (PORT_MAP_PAGES * PAGE_SIZE) as usize);
        page(msr_map).write_bytes(0xff, (MSR_MAP_PAGES * PAGE_SIZE) as usize);
        for index in OWN_MSRS {
            if let Some((byte, shift)) = msr_bits(index) {
                let place = page(msr_map).add(byte);
                place.write(place.read() & !(3 << shift));
            }
        }
    }
    Shared {
        port_map,
        msr_map,
        next_rip: cpuid::svm_features() & NEXT_RIP != 0,
    }
}

/// Switches AMD-V on for the executing CPU, if it has it.
///
/// # Safety
/// `cpu` must be the executing CPU, with its task register and system-call registers set up for good.
pub unsafe fn set_up(cpu: &PerCpu) {
    let support = SUPPORT.call_once(find);
    if cpu.number == 0 {
        if support.available {
            log::info!("AMD-V with nested paging: hardware-virtualized guests can run");
        } else {
            log::info!("No hardware-virtualized guests: {}", support.reason);
        }
    }
    if !support.available || !find().available {
        return;
    }
    let _ = SHARED.call_once(make_shared);
    let save_area = frames(1);
    let own = cpu.svm.call_once(|| SvmCpu {
        vmcb: frames(1),
        host: frames(1),
        last_tag: AtomicU64::new(0),
        flush: AtomicBool::new(true),
    });
    // SAFETY: the CPU has AMD-V; the frames are our own. VMSAVE stores registers that stay as they are from here on.
    unsafe {
        msr::write(msr::EFER, msr::read(msr::EFER) | EFER_SVME);
        msr::write(msr::VM_HSAVE_PA, save_area);
        core::arch::asm!("vmsave %rax", in("rax") own.host, options(att_syntax, nostack));
    }
}

impl SvmCpu {
    /// The control block.
    #[expect(clippy::mut_from_ref, reason = "see the safety condition")]
    ///
    /// # Safety
    /// On the CPU itself only, one reference at a time.
    unsafe fn block(&self) -> &mut Vmcb {
        // SAFETY: a frame of its own, in the direct map; the caller vouches for exclusive use.
        unsafe { &mut *page(self.vmcb).cast() }
    }

    /// Makes the next entry forget all translations.
    pub fn request_flush(&self) {
        self.flush.store(true, Ordering::SeqCst);
    }
}
