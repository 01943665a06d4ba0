//! What goes into a vCPU at its next entry: non-maskable interrupts, event upcalls, interrupts of its local APIC.
//!
//! An event is taken from where it waits only when nothing can keep it from going in, and stays with the vCPU if that is
//! taken off before it runs.

use alloc::sync::Arc;
use core::ops::ControlFlow;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::hvm::params::HvmParamIndex;

use super::lapic::{DeliveryMode, Ipi, LapicIdentity};
use super::params::CallbackVia;
use super::{HvmDomain, HvmVcpu};
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::{EventKind, HvmEvent, Machine};

/// RFLAGS.IF.
const INTERRUPTS: u64 = 1 << 9;
/// Vector of the callback that is not the local APIC's business; `None` if the guest chose another way.
fn callback_vector(domain: &HvmDomain) -> Option<u8> {
    let value = domain.params.lock().value(HvmParamIndex::CALLBACK_IRQ);
    match CallbackVia::decode(value, domain.facts().interrupt_lines) {
        CallbackVia::Vector(vector) => Some(vector),
        _ => None,
    }
}

impl<M: Machine> Hypervisor<M> {
    /// The part of [`deliver_pending`](Hypervisor) for a vCPU that runs in hardware. `Continue` = look again.
    pub(crate) fn deliver_in_hardware(
        &self,
        cpu: &mut CpuLocal,
        regs: &mut CpuUserRegs,
    ) -> ControlFlow<()> {
        let Some(Running { domain, vcpu, ctx }) = cpu.current.as_mut() else {
            return ControlFlow::Continue(());
        };
        let (Some(hvm), Some(hvm_domain)) = (ctx.hvm.as_deref_mut(), &domain.hvm) else {
            return ControlFlow::Continue(());
        };
        if self.take_signals(vcpu, hvm, regs) {
            return ControlFlow::Continue(());
        }
        self.collect(vcpu, hvm);
        let open = regs.rflags & INTERRUPTS != 0 && !hvm.state.interrupt_shadow;
        if hvm.event.is_none()
            && vcpu.flags().contains(VcpuFlags::NMI_PENDING)
            && !hvm.nmi_masked
            && !hvm.state.interrupt_shadow
        {
            vcpu.clear_flags(VcpuFlags::NMI_PENDING);
            hvm.nmi_masked = true;
            hvm.event = Some(HvmEvent {
                kind: EventKind::Nmi,
                vector: 2,
                error_code: None,
            });
        }
        let upcall = self.callback_due(hvm_domain, vcpu);
        let wanted = upcall.or_else(|| hvm.lapic.pending());
        hvm.interrupt_window = false;
        if let Some(vector) = wanted {
            if open && hvm.event.is_none() {
                if upcall.is_none() {
                    hvm.lapic.acknowledge(vector);
                }
                hvm.event = Some(HvmEvent {
                    kind: EventKind::Interrupt,
                    vector,
                    error_code: None,
                });
            } else {
                hvm.interrupt_window = true;
            }
        }
        if hvm.halted {
            if hvm.event.is_none() {
                return self.wait_for_interrupt(vcpu, hvm_domain);
            }
            hvm.halted = false;
        }
        let (domain, vcpu) = (domain.clone(), vcpu.clone());
        self.refresh_areas_in_hardware(&domain, &vcpu, cpu, regs);
        ControlFlow::Break(())
    }

    /// The callback vector, if an event is pending for a guest that takes them so.
    fn callback_due(&self, domain: &HvmDomain, vcpu: &Vcpu) -> Option<u8> {
        let mailbox = vcpu.hvm.as_deref()?;
        if mailbox.upcall_vector.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let pending = vcpu
            .info()
            .is_some_and(|info| info.upcall_pending(&self.machine));
        if !pending {
            return None;
        }
        callback_vector(domain)
    }

    /// Hands to the local APIC what others left in the mailbox.
    fn collect(&self, vcpu: &Arc<Vcpu>, hvm: &mut HvmVcpu) {
        let Some(mailbox) = vcpu.hvm.as_deref() else {
            return;
        };
        mailbox.take_posted(|vector, level| {
            hvm.lapic.accept(vector, level);
        });
        if mailbox.upcall.load(Ordering::Relaxed) && mailbox.upcall.swap(false, Ordering::SeqCst) {
            let vector = mailbox.upcall_vector.load(Ordering::SeqCst);
            if vector != 0 {
                hvm.lapic.accept(vector, false);
            }
        }
        if mailbox.lapic_expired.load(Ordering::Relaxed)
            && mailbox.lapic_expired.swap(false, Ordering::SeqCst)
        {
            let now = self.machine.now_ns();
            let offset = hvm.state.tsc_offset;
            hvm.lapic
                .timer_expired(now, |tsc| self.guest_tsc_to_ns(tsc, offset));
            self.publish_lapic(vcpu, hvm);
        }
    }

    /// Blocks a vCPU that executed HLT, unless something came meanwhile.
    fn wait_for_interrupt(&self, vcpu: &Arc<Vcpu>, domain: &HvmDomain) -> ControlFlow<()> {
        vcpu.set_flags(VcpuFlags::BLOCKED);
        // Whatever was left before the flag was set has woken nobody.
        if self.has_mail(vcpu) || self.callback_due(domain, vcpu).is_some() {
            vcpu.clear_flags(VcpuFlags::BLOCKED);
        }
        ControlFlow::Continue(())
    }

    /// Whether something waits that the vCPU has not looked at.
    pub(crate) fn has_mail(&self, vcpu: &Vcpu) -> bool {
        vcpu.flags().contains(VcpuFlags::NMI_PENDING)
            || vcpu.hvm.as_deref().is_some_and(|mailbox| {
                mailbox.has_posted()
                    || mailbox.has_signals()
                    || mailbox.upcall.load(Ordering::SeqCst)
                    || mailbox.lapic_expired.load(Ordering::SeqCst)
            })
    }

    /// Acts on INIT and SIPI. True if the vCPU does not go on as it was.
    fn take_signals(&self, vcpu: &Arc<Vcpu>, hvm: &mut HvmVcpu, regs: &mut CpuUserRegs) -> bool {
        let Some(mailbox) = vcpu.hvm.as_deref() else {
            return false;
        };
        if !mailbox.has_signals() {
            return false;
        }
        let signals = mailbox.take_signals();
        if signals.init {
            hvm.lapic.init();
            vcpu.clear_flags(VcpuFlags::INITIALISED);
            vcpu.set_flags(VcpuFlags::DOWN);
        }
        if let Some(page) = signals.sipi
            && !vcpu.flags().contains(VcpuFlags::INITIALISED)
        {
            start_vcpu(vcpu, hvm, regs, page);
            // All processors of a machine count alike.
            if let Some(first) = first_offset(vcpu) {
                hvm.state.tsc_offset = first;
                mailbox.tsc_offset.store(first, Ordering::SeqCst);
                self.publish_time(vcpu);
            }
        }
        self.publish_lapic(vcpu, hvm);
        true
    }

    /// Sends an interrupt between processors.
    pub(crate) fn send_ipi(&self, domain: &Domain, sender: &Arc<Vcpu>, ipi: &Ipi) {
        if ipi.is_init_deassert() {
            return;
        }
        let mut lowest: Option<&Arc<Vcpu>> = None;
        for vcpu in domain.vcpus() {
            let Some(mailbox) = vcpu.hvm.as_deref() else {
                continue;
            };
            let identity = LapicIdentity::unpack(mailbox.identity.load(Ordering::SeqCst));
            if !ipi.means(identity, Arc::ptr_eq(vcpu, sender)) {
                continue;
            }
            match ipi.mode {
                DeliveryMode::Fixed => {
                    if identity.takes_vectors() {
                        mailbox.post(ipi.vector, ipi.level);
                        self.wake(vcpu);
                    }
                }
                DeliveryMode::LowestPriority => {
                    if identity.takes_vectors() {
                        lowest.get_or_insert(vcpu);
                    }
                }
                DeliveryMode::Nmi => {
                    vcpu.set_flags(VcpuFlags::NMI_PENDING);
                    self.wake(vcpu);
                }
                DeliveryMode::Init => {
                    mailbox.send_init();
                    self.deliver_signals(vcpu);
                }
                DeliveryMode::StartUp => {
                    mailbox.send_sipi(ipi.vector);
                    self.deliver_signals(vcpu);
                }
                DeliveryMode::Smi | DeliveryMode::Reserved | DeliveryMode::ExtInt => {}
            }
        }
        if let Some(vcpu) = lowest
            && let Some(mailbox) = vcpu.hvm.as_deref()
        {
            mailbox.post(ipi.vector, ipi.level);
            self.wake(vcpu);
        }
    }

    /// Makes a vCPU act on INIT and SIPI: itself, if a processor has it, otherwise at once.
    pub(crate) fn deliver_signals(&self, vcpu: &Arc<Vcpu>) {
        if vcpu.is_running() {
            self.wake(vcpu);
            return;
        }
        {
            let mut parked = vcpu.parked.lock();
            let Some(ctx) = parked.as_deref_mut() else {
                // On its way to a processor, which looks.
                return;
            };
            let Some(mut hvm) = ctx.hvm.take() else {
                return;
            };
            let mut regs = ctx.regs;
            self.take_signals(vcpu, &mut hvm, &mut regs);
            ctx.regs = regs;
            ctx.hvm = Some(hvm);
        }
        self.make_runnable(vcpu);
    }
}

/// The offset of the first vCPU's time-stamp counter.
fn first_offset(vcpu: &Vcpu) -> Option<u64> {
    let domain = vcpu.domain.upgrade()?;
    let first = domain.vcpu(crate::num::VcpuId(0))?;
    Some(first.hvm.as_deref()?.tsc_offset.load(Ordering::SeqCst))
}

/// SIPI: the vCPU starts in real mode.
fn start_vcpu(vcpu: &Vcpu, hvm: &mut HvmVcpu, regs: &mut CpuUserRegs, page: u8) {
    use zerocopy::FromZeros;
    *regs = CpuUserRegs::new_zeroed();
    // The family of the processor, as after a reset.
    regs.rdx = 0x600;
    regs.rflags = 2;
    hvm.start_at(page);
    vcpu.set_flags(VcpuFlags::INITIALISED);
    vcpu.clear_flags(VcpuFlags::DOWN | VcpuFlags::BLOCKED);
}
