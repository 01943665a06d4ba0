//! sysctl: the machine as a whole.
//!
//! Contract: public/sysctl.h.

use std::mem::offset_of;

use hypercall_abi::Errno;
use hypercall_abi::GuestHandle;
use hypercall_abi::domctl::{DomctlGetdomaininfo, SchedulerId};
use hypercall_abi::sysctl::{
    CpupoolOpCmd, SYSCTL_INTERFACE_VERSION, Sysctl, SysctlCmd, SysctlCpupoolOp, SysctlDebugKeys,
    SysctlGetdomaininfolist, SysctlMeminfo, SysctlNumainfo, SysctlPhysinfo, SysctlReadconsole,
    SysctlU,
};
use hypercall_abi::xen::{DomId, HypercallNr, XenctlBitmap};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::domctl::CpuSet;
use super::{Arg, Lent, Xen, XenError};

/// Offset of the union in `xen_sysctl`.
const U: usize = offset_of!(Sysctl, u);

impl dyn Xen + '_ {
    /// One sysctl; the answer's payload.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn sysctl(
        &self,
        cmd: SysctlCmd,
        payload: SysctlU,
        lent: Vec<Lent<'_>>,
    ) -> Result<SysctlU, XenError> {
        let mut op = Sysctl::new_zeroed();
        op.cmd = cmd;
        op.interface_version = SYSCTL_INTERFACE_VERSION;
        op.u = payload;
        let result = self.call(
            HypercallNr::SYSCTL,
            &mut [Arg::Memory(op.as_mut_bytes(), lent)],
        );
        match result {
            Ok(_) => Ok(op.u),
            Err(errno) => {
                let name = cmd.name().unwrap_or("").trim_start_matches("XEN_SYSCTL_");
                Err(XenError::new(format!("sysctl {name}"), None, errno))
            }
        }
    }

    /// Processors and memory of the machine.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn physinfo(&self) -> Result<SysctlPhysinfo, XenError> {
        self.sysctl(SysctlCmd::PHYSINFO, SysctlU::new_zeroed(), Vec::new())
            .map(|answer| answer.as_physinfo())
    }

    /// The scheduler.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn scheduler(&self) -> Result<SchedulerId, XenError> {
        self.sysctl(SysctlCmd::SCHED_ID, SysctlU::new_zeroed(), Vec::new())
            .map(|answer| answer.as_sched_id().sched_id)
    }

    /// All domains in order of their ids.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn domains(&self) -> Result<Vec<DomctlGetdomaininfo>, XenError> {
        const AT_ONCE: u32 = 64;
        let mut all: Vec<DomctlGetdomaininfo> = Vec::new();
        let mut first = 0;
        loop {
            let mut buffer = vec![0; AT_ONCE as usize * size_of::<DomctlGetdomaininfo>()];
            let payload = SysctlU::from_getdomaininfolist(SysctlGetdomaininfolist {
                first_domain: DomId(first),
                max_domains: AT_ONCE,
                ..SysctlGetdomaininfolist::new_zeroed()
            });
            let lent = vec![Lent {
                bytes: &mut buffer,
                address_at: U + offset_of!(SysctlGetdomaininfolist, buffer),
            }];
            let answer = self.sysctl(SysctlCmd::GETDOMAININFOLIST, payload, lent)?;
            let count = answer.as_getdomaininfolist().num_domains;
            let found = buffer
                .chunks_exact(size_of::<DomctlGetdomaininfo>())
                .take(count as usize)
                .filter_map(|bytes| DomctlGetdomaininfo::read_from_bytes(bytes).ok());
            all.extend(found);
            match all.last() {
                Some(last) if count == AT_ONCE => first = last.domain.0.saturating_add(1),
                _ => return Ok(all),
            }
        }
    }

    /// The hypervisor's messages; `clear` forgets them.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn console_ring(&self, clear: bool) -> Result<Vec<u8>, XenError> {
        let mut size = 16 << 10;
        loop {
            let mut buffer = vec![0; size];
            let payload = SysctlU::from_readconsole(SysctlReadconsole {
                clear: clear.into(),
                count: size as u32,
                ..SysctlReadconsole::new_zeroed()
            });
            let lent = vec![Lent {
                bytes: &mut buffer,
                address_at: U + offset_of!(SysctlReadconsole, buffer),
            }];
            let answer = self.sysctl(SysctlCmd::READCONSOLE, payload, lent)?;
            let count = answer.as_readconsole().count as usize;
            // A full buffer may have left the newest lines out.
            if count >= size && size < 1 << 24 && !clear {
                size *= 4;
                continue;
            }
            buffer.truncate(count);
            return Ok(buffer);
        }
    }

    /// Messages since `index`, and the index to go on from.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn console_ring_since(&self, index: u32) -> Result<(Vec<u8>, u32), XenError> {
        let mut buffer = vec![0; 16 << 10];
        let payload = SysctlU::from_readconsole(SysctlReadconsole {
            incremental: 1,
            index,
            count: buffer.len() as u32,
            ..SysctlReadconsole::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut buffer,
            address_at: U + offset_of!(SysctlReadconsole, buffer),
        }];
        let answer = self
            .sysctl(SysctlCmd::READCONSOLE, payload, lent)?
            .as_readconsole();
        buffer.truncate(answer.count as usize);
        Ok((buffer, answer.index))
    }

    /// Presses keys of the hypervisor's console.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn debug_keys(&self, keys: &str) -> Result<(), XenError> {
        let mut bytes = keys.as_bytes().to_vec();
        let payload = SysctlU::from_debug_keys(SysctlDebugKeys {
            nr_keys: bytes.len() as u32,
            ..SysctlDebugKeys::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut bytes,
            address_at: U + offset_of!(SysctlDebugKeys, keys),
        }];
        self.sysctl(SysctlCmd::DEBUG_KEYS, payload, lent)
            .map(|_| ())
    }

    /// Processors that belong to no pool.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn free_cpus(&self, cpus: u32) -> Result<CpuSet, XenError> {
        let mut set = CpuSet::none(cpus);
        let payload = SysctlU::from_cpupool_op(SysctlCpupoolOp {
            op: CpupoolOpCmd::FREEINFO,
            cpumap: XenctlBitmap {
                bitmap: GuestHandle::null(),
                nr_bits: set.0.len() as u32 * 8,
                _pad: [0; 4],
            },
            ..SysctlCpupoolOp::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut set.0,
            address_at: U + offset_of!(SysctlCpupoolOp, cpumap),
        }];
        self.sysctl(SysctlCmd::CPUPOOL_OP, payload, lent)?;
        Ok(set)
    }

    /// Total and free bytes of each NUMA node; one node where the hypervisor does not tell.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn nodes(&self) -> Result<Vec<SysctlMeminfo>, XenError> {
        let ask = |count: u32, lent| {
            let payload = SysctlU::from_numainfo(SysctlNumainfo {
                num_nodes: count,
                ..SysctlNumainfo::new_zeroed()
            });
            self.sysctl(SysctlCmd::NUMAINFO, payload, lent)
                .map(|answer| answer.as_numainfo().num_nodes)
        };
        let count = match ask(0, Vec::new()) {
            Err(error) if error.is(Errno::ENOSYS) => return Ok(Vec::new()),
            count => count?,
        };
        let mut nodes = vec![0; count as usize * size_of::<SysctlMeminfo>()];
        let lent = vec![Lent {
            bytes: &mut nodes,
            address_at: U + offset_of!(SysctlNumainfo, meminfo),
        }];
        ask(count, lent)?;
        Ok(nodes
            .chunks_exact(size_of::<SysctlMeminfo>())
            .filter_map(|bytes| SysctlMeminfo::read_from_bytes(bytes).ok())
            .collect())
    }
}
