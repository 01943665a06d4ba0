//! Making a domain: its shared page, its tables, its vCPUs.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::X86EmulationFlags;
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::{Domain, DomainParts, Privileges, Vcpu, VcpuCtx, VcpuFlags};
use crate::cpu_policy::CpuPolicy;
use crate::evtchn::EventChannels;
use crate::grant::GrantTable;
use crate::hvm::domain::DEFAULT_TABLES;
use crate::hvm::{HvmDomain, HvmVcpu, P2m};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::VcpuId;

/// Frames that a grant table has at once.
const INITIAL_GRANT_FRAMES: u32 = 1;

/// What a new domain should be.
#[derive(Clone, Debug)]
pub struct DomainConfig {
    /// Its number.
    pub id: DomId,
    /// Its rights.
    pub privileges: Privileges,
    /// Room for vCPUs.
    pub max_vcpus: u32,
    /// Highest event-channel port.
    pub max_evtchn_port: u32,
    /// Most frames of its grant table.
    pub max_grant_frames: u32,
    /// Most frames of the table of grants it maps.
    pub max_maptrack_frames: u32,
    /// Its view of the processor.
    pub cpu_policy: Arc<CpuPolicy>,
    /// Its UUID.
    pub handle: [u8; 16],
    /// Its security label.
    pub ssidref: u32,
    /// It starts with one pause of the toolstack's.
    pub paused: bool,
    /// Its guest runs in hardware, with these devices emulated.
    pub hvm: Option<X86EmulationFlags>,
}

impl<M: Machine> Hypervisor<M> {
    /// Creates a domain with its shared page, without vCPUs and memory, and enters it in the table.
    ///
    /// # Errors
    /// `EEXIST` if the number is taken, `ENOMEM`.
    pub fn create_domain(&self, config: DomainConfig) -> Result<Arc<Domain>, Errno> {
        self.check_heap()?;
        let pages = self.mem.open_account(config.id).ok_or(Errno::EEXIST)?;
        let Some(shared_info) = self.mem.allocate_shared(&self.machine, &pages) else {
            let _ = self.mem.close_account(config.id);
            return Err(Errno::ENOMEM);
        };
        let hvm = match config.hvm {
            None => None,
            Some(emulation) => {
                let Some(p2m) = P2m::new(&self.mem, &self.machine, DEFAULT_TABLES) else {
                    self.mem.free_shared(shared_info);
                    let _ = self.mem.close_account(config.id);
                    return Err(Errno::ENOMEM);
                };
                Some(HvmDomain::new(p2m, emulation))
            }
        };
        let domain = Domain::new(DomainParts {
            id: config.id,
            privileges: config.privileges,
            pages,
            shared_info,
            max_vcpus: config.max_vcpus,
            events: EventChannels::new(config.max_evtchn_port),
            grants: match &hvm {
                None => GrantTable::new(config.max_grant_frames, config.max_maptrack_frames),
                Some(hvm) => GrantTable::new(config.max_grant_frames, config.max_maptrack_frames)
                    .translated(hvm.p2m.root()),
            },
            cpu_policy: config.cpu_policy,
            handle: config.handle,
            ssidref: config.ssidref,
            paused: config.paused,
            hvm,
        });
        self.publish_wallclock(&domain);
        // A table has a frame from the start: the toolstack writes its first entries before the guest runs.
        let entered = self
            .grow_grants(&domain, INITIAL_GRANT_FRAMES.min(config.max_grant_frames))
            .and_then(|()| {
                let is_new = self.domains.insert(domain.clone());
                if is_new { Ok(()) } else { Err(Errno::EEXIST) }
            });
        match entered {
            Ok(()) => Ok(domain),
            Err(errno) => {
                self.discard(&domain);
                Err(errno)
            }
        }
    }

    /// Takes a domain apart that nobody has seen.
    fn discard(&self, domain: &Domain) {
        for frame in domain.grants.close() {
            self.mem.free_shared(frame);
        }
        if let Some(hvm) = &domain.hvm {
            hvm.p2m.free(&self.mem);
        }
        self.mem.free_shared(domain.shared_info);
        let _ = self.mem.close_account(domain.id);
    }

    /// Creates vCPU `id`, down and uninitialised, unless it exists.
    pub fn create_vcpu(&self, domain: &Arc<Domain>, id: VcpuId) -> Arc<Vcpu> {
        let info = domain.first_vcpu_info(id);
        let mut ctx = Box::new(VcpuCtx::new(self.machine.fpu_area_size()));
        ctx.hvm = domain
            .is_translated()
            .then(|| Box::new(HvmVcpu::new(id.0, domain.cpu_policy().address_bits())));
        let identity = ctx.hvm.as_ref().map(|hvm| hvm.lapic.identity().pack());
        let vcpu = Vcpu::new(domain, id, info, ctx, self.machine.now_ns());
        if let (Some(mailbox), Some(identity)) = (vcpu.hvm.as_deref(), identity) {
            mailbox.identity.store(identity, Ordering::SeqCst);
        }
        {
            // Under the lock of pauses and shutdowns: what stops the domain stops its new vCPUs too.
            let life = domain.ending.lock();
            let mut flags = VcpuFlags::empty();
            flags.set(VcpuFlags::PAUSED, domain.is_paused());
            flags.set(VcpuFlags::SHUTDOWN, life.shutdown.is_some());
            vcpu.set_flags(flags);
            domain.add_vcpu(vcpu.clone());
        }
        self.publish_time(&vcpu);
        // Another processor may have been faster.
        domain.vcpu(id).cloned().unwrap_or(vcpu)
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::errno::Errno;
    use hypercall_abi::xen::DomId;

    use super::DomainConfig;
    use crate::domain::Privileges;
    use crate::sim::{SimConfig, world_with};

    #[test]
    fn a_domain_that_cannot_be_made_leaves_nothing_behind() {
        // Room for nothing, for the shared page only, for both.
        for (room, fails) in [(0, true), (1, true), (2, false)] {
            let hv = world_with(SimConfig {
                frames: 16 + room,
                ..SimConfig::default()
            });
            let config = DomainConfig {
                id: DomId(3),
                privileges: Privileges::default(),
                max_vcpus: 1,
                max_evtchn_port: 1023,
                max_grant_frames: 4,
                max_maptrack_frames: 4,
                cpu_policy: hv.policies.hardware_domain(),
                handle: [0; 16],
                ssidref: 0,
                paused: false,
                hvm: None,
            };
            for _ in 0..2 {
                let made = hv.create_domain(config.clone());
                assert_eq!(made.as_ref().err(), fails.then_some(&Errno::ENOMEM));
                if fails {
                    assert_eq!(hv.mem.free_pages(), room);
                } else {
                    assert_eq!(hv.create_domain(config.clone()).err(), Some(Errno::EEXIST));
                    assert_eq!(hv.mem.free_pages(), 0);
                    break;
                }
            }
            assert_eq!(hv.domains.get(DomId(3)).is_some(), !fails);
        }
    }
}
