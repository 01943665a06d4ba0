//! What the hypervisor keeps of a domain's processors, read and set as a whole: for saving and restoring.
//!
//! Contract: `getvcpucontext`, `get_ext_vcpucontext`, `getvcpuextstate`, `get_vcpu_msrs` and their opposites, `gettscinfo`,
//! `get_cpu_policy` and `resumedomain` of public/domctl.h.

use std::mem::offset_of;

use hypercall_abi::arch_x86::{CpuidLeaf, MsrEntry, VcpuGuestContext};
use hypercall_abi::domctl::{
    Domctl, DomctlCmd, DomctlCpuPolicy, DomctlExtVcpucontext, DomctlTscInfo, DomctlU,
    DomctlVcpuMsr, DomctlVcpuMsrs, DomctlVcpucontext, DomctlVcpuextstate,
};
use hypercall_abi::sysctl::CpuPolicyIndex;
use hypercall_abi::xen::DomId;
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{Lent, Xen, XenError};

/// Where the payload of a domctl begins.
const U: usize = offset_of!(Domctl, u);

impl dyn Xen + '_ {
    /// A vCPU's registers.
    ///
    /// # Errors
    /// ENODATA: it was never set up.
    pub fn vcpu_context(&self, domain: DomId, vcpu: u32) -> Result<VcpuGuestContext, XenError> {
        let mut context = VcpuGuestContext::new_zeroed();
        let payload = DomctlU::from_vcpucontext(DomctlVcpucontext {
            vcpu,
            ..DomctlVcpucontext::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: context.as_mut_bytes(),
            address_at: U + offset_of!(DomctlVcpucontext, ctxt),
        }];
        self.domctl(DomctlCmd::GETVCPUCONTEXT, domain, payload, lent)?;
        Ok(context)
    }

    /// The rest of a vCPU's state: 32-bit entry points and machine-check banks.
    ///
    /// # Errors
    /// No such vCPU.
    pub fn ext_vcpu_context(
        &self,
        domain: DomId,
        vcpu: u32,
    ) -> Result<DomctlExtVcpucontext, XenError> {
        let payload = DomctlU::from_ext_vcpucontext(DomctlExtVcpucontext {
            vcpu,
            ..DomctlExtVcpucontext::new_zeroed()
        });
        self.domctl(DomctlCmd::GET_EXT_VCPUCONTEXT, domain, payload, Vec::new())
            .map(|(_, answer)| answer.as_ext_vcpucontext())
    }

    /// Sets what `ext_vcpu_context` reads.
    ///
    /// # Errors
    /// No such vCPU, or the state is none.
    pub fn set_ext_vcpu_context(
        &self,
        domain: DomId,
        context: DomctlExtVcpucontext,
    ) -> Result<(), XenError> {
        let payload = DomctlU::from_ext_vcpucontext(context);
        self.domctl(DomctlCmd::SET_EXT_VCPUCONTEXT, domain, payload, Vec::new())
            .map(|_| ())
    }

    /// A vCPU's vector registers as the hypervisor packs them; empty if it has none.
    ///
    /// # Errors
    /// No such vCPU.
    pub fn vcpu_xsave(&self, domain: DomId, vcpu: u32) -> Result<Vec<u8>, XenError> {
        let ask = DomctlVcpuextstate {
            vcpu,
            ..DomctlVcpuextstate::new_zeroed()
        };
        let cmd = DomctlCmd::GETVCPUEXTSTATE;
        let payload = DomctlU::from_vcpuextstate(ask);
        let (_, answer) = self.domctl(cmd, domain, payload, Vec::new())?;
        let answer = answer.as_vcpuextstate();
        if answer.xfeature_mask == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; usize::try_from(answer.size).unwrap_or(0)];
        let lent = vec![Lent {
            bytes: &mut bytes,
            address_at: U + offset_of!(DomctlVcpuextstate, buffer),
        }];
        let payload = DomctlU::from_vcpuextstate(DomctlVcpuextstate {
            size: answer.size,
            xfeature_mask: answer.xfeature_mask,
            ..ask
        });
        let (_, answer) = self.domctl(cmd, domain, payload, lent)?;
        bytes.truncate(usize::try_from(answer.as_vcpuextstate().size).unwrap_or(0));
        Ok(bytes)
    }

    /// Sets what `vcpu_xsave` reads.
    ///
    /// # Errors
    /// The bytes are no such state, or one of another machine.
    pub fn set_vcpu_xsave(&self, domain: DomId, vcpu: u32, bytes: &[u8]) -> Result<(), XenError> {
        let mut bytes = bytes.to_vec();
        let payload = DomctlU::from_vcpuextstate(DomctlVcpuextstate {
            vcpu,
            size: bytes.len() as u64,
            ..DomctlVcpuextstate::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut bytes,
            address_at: U + offset_of!(DomctlVcpuextstate, buffer),
        }];
        self.domctl(DomctlCmd::SETVCPUEXTSTATE, domain, payload, lent)
            .map(|_| ())
    }

    /// A vCPU's MSRs that are not zero, as an array of `xen_domctl_vcpu_msr`.
    ///
    /// # Errors
    /// No such vCPU.
    pub fn vcpu_msrs(&self, domain: DomId, vcpu: u32) -> Result<Vec<u8>, XenError> {
        let ask = |count: u32, lent| {
            let payload = DomctlU::from_vcpu_msrs(DomctlVcpuMsrs {
                vcpu,
                msr_count: count,
                ..DomctlVcpuMsrs::new_zeroed()
            });
            self.domctl(DomctlCmd::GET_VCPU_MSRS, domain, payload, lent)
                .map(|(_, answer)| answer.as_vcpu_msrs().msr_count)
        };
        let count = ask(0, Vec::new())?;
        let mut bytes = vec![0; count as usize * size_of::<DomctlVcpuMsr>()];
        if count > 0 {
            let lent = vec![Lent {
                bytes: &mut bytes,
                address_at: U + offset_of!(DomctlVcpuMsrs, msrs),
            }];
            let filled = ask(count, lent)?;
            bytes.truncate(filled as usize * size_of::<DomctlVcpuMsr>());
        }
        Ok(bytes)
    }

    /// Sets what `vcpu_msrs` reads.
    ///
    /// # Errors
    /// An MSR is none that a guest may have.
    pub fn set_vcpu_msrs(&self, domain: DomId, vcpu: u32, bytes: &[u8]) -> Result<(), XenError> {
        let mut bytes = bytes.to_vec();
        let payload = DomctlU::from_vcpu_msrs(DomctlVcpuMsrs {
            vcpu,
            msr_count: (bytes.len() / size_of::<DomctlVcpuMsr>()) as u32,
            ..DomctlVcpuMsrs::new_zeroed()
        });
        let lent = vec![Lent {
            bytes: &mut bytes,
            address_at: U + offset_of!(DomctlVcpuMsrs, msrs),
        }];
        self.domctl(DomctlCmd::SET_VCPU_MSRS, domain, payload, lent)
            .map(|_| ())
    }

    /// How the domain sees the time-stamp counter.
    ///
    /// # Errors
    /// No such domain.
    pub fn tsc(&self, domain: DomId) -> Result<DomctlTscInfo, XenError> {
        self.domctl(
            DomctlCmd::GETTSCINFO,
            domain,
            DomctlU::new_zeroed(),
            Vec::new(),
        )
        .map(|(_, answer)| answer.as_tsc_info())
    }

    /// The processor that the domain is shown: arrays of `xen_cpuid_leaf` and of `xen_msr_entry`.
    ///
    /// # Errors
    /// No such domain.
    pub fn domain_policy(&self, domain: DomId) -> Result<(Vec<u8>, Vec<u8>), XenError> {
        let sizes = self.system_policy_sizes(CpuPolicyIndex::PV_DEFAULT)?;
        let mut leaves = vec![0; sizes.0 as usize * size_of::<CpuidLeaf>()];
        let mut msrs = vec![0; sizes.1 as usize * size_of::<MsrEntry>()];
        let payload = DomctlU::from_cpu_policy(DomctlCpuPolicy {
            nr_leaves: sizes.0,
            nr_msrs: sizes.1,
            ..DomctlCpuPolicy::new_zeroed()
        });
        let lent = vec![
            Lent {
                bytes: &mut leaves,
                address_at: U + offset_of!(DomctlCpuPolicy, leaves),
            },
            Lent {
                bytes: &mut msrs,
                address_at: U + offset_of!(DomctlCpuPolicy, msrs),
            },
        ];
        let (_, answer) = self.domctl(DomctlCmd::GET_CPU_POLICY, domain, payload, lent)?;
        let answer = answer.as_cpu_policy();
        leaves.truncate(answer.nr_leaves as usize * size_of::<CpuidLeaf>());
        msrs.truncate(answer.nr_msrs as usize * size_of::<MsrEntry>());
        Ok((leaves, msrs))
    }

    /// Sets what `domain_policy` reads.
    ///
    /// # Errors
    /// The hypervisor cannot show one of the leaves or MSRs.
    pub fn set_domain_policy(
        &self,
        domain: DomId,
        leaves: &[u8],
        msrs: &[u8],
    ) -> Result<(), XenError> {
        let (mut leaves, mut msrs) = (leaves.to_vec(), msrs.to_vec());
        let payload = DomctlU::from_cpu_policy(DomctlCpuPolicy {
            nr_leaves: (leaves.len() / size_of::<CpuidLeaf>()) as u32,
            nr_msrs: (msrs.len() / size_of::<MsrEntry>()) as u32,
            ..DomctlCpuPolicy::new_zeroed()
        });
        let lent = vec![
            Lent {
                bytes: &mut leaves,
                address_at: U + offset_of!(DomctlCpuPolicy, leaves),
            },
            Lent {
                bytes: &mut msrs,
                address_at: U + offset_of!(DomctlCpuPolicy, msrs),
            },
        ];
        self.domctl(DomctlCmd::SET_CPU_POLICY, domain, payload, lent)
            .map(|_| ())
    }

    /// Lets a domain that has shut itself down go on after the call.
    ///
    /// # Errors
    /// EINVAL: it has not.
    pub fn resume_domain(&self, domain: DomId) -> Result<(), XenError> {
        self.domctl(
            DomctlCmd::RESUMEDOMAIN,
            domain,
            DomctlU::new_zeroed(),
            Vec::new(),
        )
        .map(|_| ())
    }
}
