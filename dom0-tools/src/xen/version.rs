//! What the hypervisor says about itself.
//!
//! Contract: public/version.h.

use hypercall_abi::version::{CompileInfo, PlatformParameters, VersionOp};
use hypercall_abi::xen::HypercallNr;
use zerocopy::{FromZeros, IntoBytes};

use super::{Arg, Xen, XenError};

/// All of `xen_version`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Major version.
    pub major: u64,
    /// Minor version.
    pub minor: u64,
    /// What follows it, such as ".7".
    pub extra: String,
    /// Which guests it runs, separated by spaces.
    pub capabilities: String,
    /// The source's change set.
    pub changeset: String,
    /// Its command line.
    pub commandline: String,
    /// The build id in hexadecimal.
    pub build_id: String,
    /// Page size.
    pub page_size: u64,
    /// Where it begins in a PV guest's address space.
    pub virt_start: u64,
    /// The compiler.
    pub compiler: String,
    /// Who compiled it.
    pub compile_by: String,
    /// Where.
    pub compile_domain: String,
    /// When.
    pub compile_date: String,
}

impl dyn Xen + '_ {
    fn version_op(&self, op: VersionOp, argument: &mut [u8]) -> Result<u64, XenError> {
        let mut args = vec![Arg::Number(op.0.into())];
        if argument.is_empty() {
            args.push(Arg::Number(0));
        } else {
            args.push(Arg::Memory(argument, Vec::new()));
        }
        self.call(HypercallNr::XEN_VERSION, &mut args)
            .map_err(|errno| XenError::new("xen_version", None, errno))
    }

    fn version_text(&self, op: VersionOp, len: usize) -> String {
        let mut bytes = vec![0; len];
        match self.version_op(op, &mut bytes) {
            Ok(_) => text(&bytes),
            Err(_) => String::new(),
        }
    }

    /// All of it. What the hypervisor does not tell stays empty.
    ///
    /// # Errors
    /// It does not even tell its version.
    pub fn version(&self) -> Result<Version, XenError> {
        let version = self.version_op(VersionOp::VERSION, &mut [])?;
        let mut compile = CompileInfo::new_zeroed();
        let mut platform = PlatformParameters::new_zeroed();
        // Absent ones stay zero, which is how an unknown is printed.
        let _ = self.version_op(VersionOp::COMPILE_INFO, compile.as_mut_bytes());
        let _ = self.version_op(VersionOp::PLATFORM_PARAMETERS, platform.as_mut_bytes());
        let page_size = self.version_op(VersionOp::PAGESIZE, &mut [])?;
        Ok(Version {
            major: version >> 16,
            minor: version & 0xffff,
            extra: self.version_text(VersionOp::EXTRAVERSION, 16),
            capabilities: self.version_text(VersionOp::CAPABILITIES, 1024),
            changeset: self.version_text(VersionOp::CHANGESET, 64),
            commandline: self.version_text(VersionOp::COMMANDLINE, 1024),
            build_id: self.build_id(),
            page_size,
            virt_start: platform.virt_start,
            compiler: text(&compile.compiler),
            compile_by: text(&compile.compile_by),
            compile_domain: text(&compile.compile_domain),
            compile_date: text(&compile.compile_date),
        })
    }

    fn build_id(&self) -> String {
        const LEN: usize = 256;
        let mut bytes = [0_u8; 4 + LEN];
        bytes[..4].copy_from_slice(&(LEN as u32).to_ne_bytes());
        let len = self
            .version_op(VersionOp::BUILD_ID, &mut bytes)
            .unwrap_or(0);
        let len = usize::try_from(len).unwrap_or(0).min(LEN);
        bytes[4..4 + len]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The bytes before the first NUL.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
