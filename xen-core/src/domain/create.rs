//! Making a domain: its shared page, its tables, its vCPUs.

use alloc::boxed::Box;
use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::{Domain, DomainParts, Privileges, Vcpu, VcpuCtx, VcpuInfo};
use crate::cpu_policy::CpuPolicy;
use crate::evtchn::EventChannels;
use crate::grant::GrantTable;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::VcpuId;

/// vCPUs whose `vcpu_info` is in the shared page from the start (LEGACY_MAX_VCPUS).
const LEGACY_VCPUS: u32 = 32;

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
}

impl<M: Machine> Hypervisor<M> {
    /// Creates a domain with its shared page, without vCPUs and memory, and enters it in the table.
    ///
    /// # Errors
    /// `EEXIST` if the number is taken, `ENOMEM`.
    pub fn create_domain(&self, config: DomainConfig) -> Result<Arc<Domain>, Errno> {
        let pages = self.mem.open_account(config.id).ok_or(Errno::EEXIST)?;
        let shared_info = self
            .mem
            .allocate_shared(&self.machine, &pages)
            .ok_or(Errno::ENOMEM)?;
        let domain = Domain::new(DomainParts {
            id: config.id,
            privileges: config.privileges,
            pages,
            shared_info,
            max_vcpus: config.max_vcpus,
            events: EventChannels::new(config.max_evtchn_port),
            grants: GrantTable::new(config.max_grant_frames, config.max_maptrack_frames),
            cpu_policy: config.cpu_policy,
        });
        self.publish_wallclock(&domain);
        // A table has a frame from the start: the toolstack writes its first entries before the guest runs.
        self.grow_grants(&domain, INITIAL_GRANT_FRAMES.min(config.max_grant_frames))?;
        if self.domains.insert(domain.clone()) {
            Ok(domain)
        } else {
            Err(Errno::EEXIST)
        }
    }

    /// Creates vCPU `id`, down and uninitialised.
    pub fn create_vcpu(&self, domain: &Arc<Domain>, id: VcpuId) -> Arc<Vcpu> {
        let info = (id.0 < LEGACY_VCPUS).then(|| VcpuInfo {
            mfn: domain.shared_info,
            first_word: id.0 as usize * VcpuInfo::WORDS,
        });
        let ctx = Box::new(VcpuCtx::new(self.machine.fpu_area_size()));
        let vcpu = Vcpu::new(domain, id, info, ctx, self.machine.now_ns());
        domain.add_vcpu(vcpu.clone());
        self.publish_time(&vcpu);
        vcpu
    }
}
