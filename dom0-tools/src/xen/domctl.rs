//! domctl: the toolstack's operations on domains.
//!
//! Contract: public/domctl.h.

use std::mem::offset_of;

use hypercall_abi::Errno;
use hypercall_abi::GuestHandle;
use hypercall_abi::arch_x86::VcpuGuestContext;
use hypercall_abi::domctl::{
    DOMCTL_INTERFACE_VERSION, Domctl, DomctlAddressSize, DomctlCmd, DomctlCreatedomain,
    DomctlGetdomaininfo, DomctlGetvcpuinfo, DomctlHypercallInit, DomctlMaxMem, DomctlMaxVcpus,
    DomctlNodeaffinity, DomctlSchedCredit2, DomctlSchedulerOp, DomctlSchedulerOpCmd,
    DomctlSchedulerOpU, DomctlSendtrigger, DomctlSettimeoffset, DomctlTscInfo, DomctlU,
    DomctlVcpuaffinity, DomctlVcpucontext, SchedulerId, SendTrigger, VcpuAffinityFlags,
};
use hypercall_abi::xen::{DomId, HypercallNr, XenctlBitmap};
use zerocopy::{FromZeros, IntoBytes};

use super::{Arg, Lent, Xen, XenError};

/// Offset of the union in `xen_domctl`.
const U: usize = offset_of!(Domctl, u);

/// Sets of processors, bit n of byte n/8 for processor n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(pub Vec<u8>);

impl CpuSet {
    /// None of `cpus` processors.
    #[must_use]
    pub fn none(cpus: u32) -> Self {
        Self(vec![0; cpus.max(1).div_ceil(8) as usize])
    }

    /// All of `cpus` processors.
    #[must_use]
    pub fn all(cpus: u32) -> Self {
        let mut set = Self::none(cpus);
        for cpu in 0..cpus {
            set.insert(cpu);
        }
        set
    }

    /// Adds a processor that the set has room for.
    pub fn insert(&mut self, cpu: u32) {
        if let Some(byte) = self.0.get_mut(cpu as usize / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }

    /// Removes a processor.
    pub fn remove(&mut self, cpu: u32) {
        if let Some(byte) = self.0.get_mut(cpu as usize / 8) {
            *byte &= !(1 << (cpu % 8));
        }
    }

    /// Whether a processor is in the set.
    #[must_use]
    pub fn contains(&self, cpu: u32) -> bool {
        self.0
            .get(cpu as usize / 8)
            .is_some_and(|byte| byte & 1 << (cpu % 8) != 0)
    }

    /// Its processors.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.0.len() as u32 * 8).filter(|cpu| self.contains(*cpu))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// Credit2's parameters of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedParams {
    /// Share relative to other domains; 256 by default.
    pub weight: u16,
    /// Percent of one processor; 0 for no limit.
    pub cap: u16,
}

impl dyn Xen + '_ {
    /// One domctl; the answer's domain and payload.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn domctl(
        &self,
        cmd: DomctlCmd,
        domain: DomId,
        payload: DomctlU,
        lent: Vec<Lent<'_>>,
    ) -> Result<(DomId, DomctlU), XenError> {
        let mut op = Domctl::new_zeroed();
        op.cmd = cmd;
        op.interface_version = DOMCTL_INTERFACE_VERSION;
        op.domain = domain;
        op.u = payload;
        let result = self.call(
            HypercallNr::DOMCTL,
            &mut [Arg::Memory(op.as_mut_bytes(), lent)],
        );
        match result {
            Ok(_) => Ok((op.domain, op.u)),
            Err(errno) => Err(XenError::new(
                format!("domctl {}", short_name(cmd)),
                Some(domain),
                errno,
            )),
        }
    }

    fn simple(&self, cmd: DomctlCmd, domain: DomId) -> Result<(), XenError> {
        self.domctl(cmd, domain, DomctlU::new_zeroed(), Vec::new())
            .map(|_| ())
    }

    /// Creates a domain without memory and vCPUs, paused.
    ///
    /// # Errors
    /// ENOMEM, EINVAL, or EEXIST if `wanted` exists.
    pub fn create_domain(
        &self,
        config: DomctlCreatedomain,
        wanted: Option<DomId>,
    ) -> Result<DomId, XenError> {
        let wanted = wanted.unwrap_or(DomId::INVALID);
        let payload = DomctlU::from_createdomain(config);
        self.domctl(DomctlCmd::CREATEDOMAIN, wanted, payload, Vec::new())
            .map(|(domain, _)| domain)
    }

    /// Allocates the domain's vCPUs.
    ///
    /// # Errors
    /// Not the number the domain was created with, or no memory.
    pub fn set_max_vcpus(&self, domain: DomId, max: u32) -> Result<(), XenError> {
        let payload = DomctlU::from_max_vcpus(DomctlMaxVcpus { max });
        self.domctl(DomctlCmd::MAX_VCPUS, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Limits the domain's memory.
    ///
    /// # Errors
    /// No such domain.
    pub fn set_max_memory(&self, domain: DomId, kib: u64) -> Result<(), XenError> {
        let payload = DomctlU::from_max_mem(DomctlMaxMem { max_memkb: kib });
        self.domctl(DomctlCmd::MAX_MEM, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Sets how the domain sees the time-stamp counter.
    ///
    /// # Errors
    /// No such domain or mode.
    pub fn set_tsc(&self, domain: DomId, info: DomctlTscInfo) -> Result<(), XenError> {
        let payload = DomctlU::from_tsc_info(info);
        self.domctl(DomctlCmd::SETTSCINFO, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Shifts the domain's clock from UTC.
    ///
    /// # Errors
    /// No such domain.
    pub fn set_time_offset(&self, domain: DomId, seconds: i64) -> Result<(), XenError> {
        let payload = DomctlU::from_settimeoffset(DomctlSettimeoffset {
            time_offset_seconds: seconds,
        });
        self.domctl(DomctlCmd::SETTIMEOFFSET, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Sets the width of the domain's addresses.
    ///
    /// # Errors
    /// The hypervisor does not know the width.
    pub fn set_address_size(&self, domain: DomId, bits: u32) -> Result<(), XenError> {
        let payload = DomctlU::from_address_size(DomctlAddressSize { size: bits });
        self.domctl(DomctlCmd::SET_ADDRESS_SIZE, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Fills a frame of the domain with hypercall entries.
    ///
    /// # Errors
    /// The frame is not the domain's.
    pub fn init_hypercall_page(&self, domain: DomId, mfn: u64) -> Result<(), XenError> {
        let payload = DomctlU::from_hypercall_init(DomctlHypercallInit { gmfn: mfn });
        self.domctl(DomctlCmd::HYPERCALL_INIT, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// Sets a vCPU's registers.
    ///
    /// # Errors
    /// The hypervisor finds something in `context` that no vCPU may have.
    pub fn set_vcpu_context(
        &self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<(), XenError> {
        let mut context = *context;
        let payload = DomctlU::from_vcpucontext(DomctlVcpucontext {
            vcpu,
            ctxt: GuestHandle::null(),
            ..DomctlVcpucontext::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: context.as_mut_bytes(),
            address_at: U + offset_of!(DomctlVcpucontext, ctxt),
        }];
        self.domctl(DomctlCmd::SETVCPUCONTEXT, domain, payload, lent)
            .map(|_| ())
    }

    /// Stops the domain's vCPUs; pauses count.
    ///
    /// # Errors
    /// No such domain, or it is this one.
    pub fn pause_domain(&self, domain: DomId) -> Result<(), XenError> {
        self.simple(DomctlCmd::PAUSEDOMAIN, domain)
    }

    /// Undoes one pause.
    ///
    /// # Errors
    /// No such domain, or it is not paused.
    pub fn unpause_domain(&self, domain: DomId) -> Result<(), XenError> {
        self.simple(DomctlCmd::UNPAUSEDOMAIN, domain)
    }

    /// Gives all of the domain back.
    ///
    /// # Errors
    /// No such domain, or it is this one.
    pub fn destroy_domain(&self, domain: DomId) -> Result<(), XenError> {
        loop {
            match self.simple(DomctlCmd::DESTROYDOMAIN, domain) {
                Err(error) if error.is(Errno::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// What is known of a domain; None if there is none with this id.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn domain_info(&self, domain: DomId) -> Result<Option<DomctlGetdomaininfo>, XenError> {
        match self.domctl(
            DomctlCmd::GETDOMAININFO,
            domain,
            DomctlU::new_zeroed(),
            Vec::new(),
        ) {
            // The hypervisor describes the next domain if there is none with this id.
            Ok((found, payload)) => {
                let info = payload.as_getdomaininfo();
                Ok((found == domain && info.domain == domain).then_some(info))
            }
            Err(error) if error.is(Errno::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is known of a vCPU.
    ///
    /// # Errors
    /// No such domain (ESRCH, or EINVAL for the vCPU).
    pub fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<DomctlGetvcpuinfo, XenError> {
        let payload = DomctlU::from_getvcpuinfo(DomctlGetvcpuinfo {
            vcpu,
            ..DomctlGetvcpuinfo::new_zeroed()
        });
        self.domctl(DomctlCmd::GETVCPUINFO, domain, payload, Vec::new())
            .map(|(_, payload)| payload.as_getvcpuinfo())
    }

    /// Where a vCPU may run and where it prefers to, among `cpus` processors.
    ///
    /// # Errors
    /// No such domain or vCPU.
    pub fn vcpu_affinity(
        &self,
        domain: DomId,
        vcpu: u32,
        cpus: u32,
    ) -> Result<(CpuSet, CpuSet), XenError> {
        let (mut hard, mut soft) = (CpuSet::none(cpus), CpuSet::none(cpus));
        let flags = VcpuAffinityFlags::HARD | VcpuAffinityFlags::SOFT;
        self.affinity(
            DomctlCmd::GETVCPUAFFINITY,
            domain,
            vcpu,
            flags,
            &mut hard,
            &mut soft,
        )?;
        Ok((hard, soft))
    }

    /// Sets where a vCPU may run, and where it prefers to, or one of the two.
    ///
    /// # Errors
    /// No such vCPU, or no processor that is online.
    pub fn set_vcpu_affinity(
        &self,
        domain: DomId,
        vcpu: u32,
        hard: Option<&CpuSet>,
        soft: Option<&CpuSet>,
    ) -> Result<(), XenError> {
        let mut flags = VcpuAffinityFlags::empty();
        flags.set(VcpuAffinityFlags::HARD, hard.is_some());
        flags.set(VcpuAffinityFlags::SOFT, soft.is_some());
        let none = CpuSet::none(1);
        let (mut hard, mut soft) = (hard.unwrap_or(&none).clone(), soft.unwrap_or(&none).clone());
        self.affinity(
            DomctlCmd::SETVCPUAFFINITY,
            domain,
            vcpu,
            flags,
            &mut hard,
            &mut soft,
        )
    }

    fn affinity(
        &self,
        cmd: DomctlCmd,
        domain: DomId,
        vcpu: u32,
        flags: VcpuAffinityFlags,
        hard: &mut CpuSet,
        soft: &mut CpuSet,
    ) -> Result<(), XenError> {
        let bitmap = |set: &CpuSet| XenctlBitmap {
            bitmap: GuestHandle::null(),
            nr_bits: set.0.len() as u32 * 8,
            _pad: [0; 4],
        };
        let payload = DomctlU::from_vcpuaffinity(DomctlVcpuaffinity {
            vcpu,
            flags: flags.bits(),
            cpumap_hard: bitmap(hard),
            cpumap_soft: bitmap(soft),
        });
        let lent = vec![
            Lent {
                bytes: &mut hard.0,
                address_at: U + offset_of!(DomctlVcpuaffinity, cpumap_hard),
            },
            Lent {
                bytes: &mut soft.0,
                address_at: U + offset_of!(DomctlVcpuaffinity, cpumap_soft),
            },
        ];
        self.domctl(cmd, domain, payload, lent).map(|_| ())
    }

    /// Sets the NUMA nodes that the domain's memory comes from.
    ///
    /// # Errors
    /// No such domain.
    pub fn set_node_affinity(&self, domain: DomId, nodes: &CpuSet) -> Result<(), XenError> {
        let mut nodes = nodes.clone();
        let payload = DomctlU::from_nodeaffinity(DomctlNodeaffinity {
            nodemap: XenctlBitmap {
                bitmap: GuestHandle::null(),
                nr_bits: nodes.0.len() as u32 * 8,
                _pad: [0; 4],
            },
        });
        let lent = vec![Lent {
            bytes: &mut nodes.0,
            address_at: U + offset_of!(DomctlNodeaffinity, nodemap),
        }];
        self.domctl(DomctlCmd::SETNODEAFFINITY, domain, payload, lent)
            .map(|_| ())
    }

    /// The domain's weight and cap under `scheduler`, which is credit or credit2.
    ///
    /// # Errors
    /// Another scheduler runs.
    pub fn sched_params(
        &self,
        domain: DomId,
        scheduler: SchedulerId,
    ) -> Result<SchedParams, XenError> {
        let u = DomctlSchedulerOpU::new_zeroed();
        let params = self.scheduler_op(domain, scheduler, DomctlSchedulerOpCmd::GETINFO, u)?;
        let params = params.as_credit2();
        Ok(SchedParams {
            weight: params.weight,
            cap: params.cap,
        })
    }

    /// Sets the domain's weight and cap under `scheduler`.
    ///
    /// # Errors
    /// Another scheduler runs, or it refuses the values.
    pub fn set_sched_params(
        &self,
        domain: DomId,
        scheduler: SchedulerId,
        params: SchedParams,
    ) -> Result<(), XenError> {
        let u = DomctlSchedulerOpU::from_credit2(DomctlSchedCredit2 {
            weight: params.weight,
            cap: params.cap,
        });
        self.scheduler_op(domain, scheduler, DomctlSchedulerOpCmd::PUTINFO, u)
            .map(|_| ())
    }

    fn scheduler_op(
        &self,
        domain: DomId,
        scheduler: SchedulerId,
        cmd: DomctlSchedulerOpCmd,
        u: DomctlSchedulerOpU,
    ) -> Result<DomctlSchedulerOpU, XenError> {
        let payload = DomctlU::from_scheduler_op(DomctlSchedulerOp {
            sched_id: scheduler.0,
            cmd: cmd.0,
            u,
        });
        self.domctl(DomctlCmd::SCHEDULER_OP, domain, payload, Vec::new())
            .map(|(_, payload)| payload.as_scheduler_op().u)
    }

    /// Sends a trigger, such as an NMI, to a vCPU.
    ///
    /// # Errors
    /// The domain takes no such trigger.
    pub fn send_trigger(
        &self,
        domain: DomId,
        trigger: SendTrigger,
        vcpu: u32,
    ) -> Result<(), XenError> {
        let payload = DomctlU::from_sendtrigger(DomctlSendtrigger {
            trigger: trigger.0,
            vcpu,
        });
        self.domctl(DomctlCmd::SENDTRIGGER, domain, payload, Vec::new())
            .map(|_| ())
    }
}

/// The command's name in the contract, without prefix.
fn short_name(cmd: DomctlCmd) -> String {
    cmd.name().map_or_else(
        || cmd.0.to_string(),
        |name| name.trim_start_matches("XEN_DOMCTL_").to_owned(),
    )
}
