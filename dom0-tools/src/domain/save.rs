//! Saving a guest: it suspends itself, its state is written, and it goes or goes on.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hypercall_abi::domctl::DomctlGetdomaininfo;
use hypercall_abi::xen::DomId;
use serde_json::{Value, json};

use super::{
    Code, Reason, State, ToolError, Toolstack, destroy, libxl_json, lookup, power, record,
};
use crate::migration::{self, MigrationError};

/// How long a guest may take to suspend itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to the guest when it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterSave {
    /// It goes.
    Destroy,
    /// It goes on.
    Continue,
    /// It stays, paused.
    Pause,
}

/// Saves `domain` to the file `path`; `progress` is told how many of how many frames are done.
///
/// # Errors
/// The guest does not suspend itself, or cannot be saved; it goes on then. The file is removed.
pub fn save(
    tools: &Toolstack,
    domain: u16,
    path: &Path,
    after: AfterSave,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ToolError> {
    let before = info(tools, domain)?;
    let config = config(tools, &before)?;
    let file = File::create(path).map_err(|error| {
        ToolError::new(
            Code::Other,
            format!("{} cannot be written: {error}", path.display()),
        )
    })?;
    let suspended = match suspend(tools, domain) {
        Ok(suspended) => suspended,
        Err(error) => {
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
    };
    let written = write(tools, &suspended, &config, file, progress);
    if let Err(error) = written {
        let _ = std::fs::remove_file(path);
        let _ = go_on(tools, &suspended);
        return Err(
            ToolError::from(error).context(format!("domain {domain} cannot be saved and goes on"))
        );
    }
    match after {
        AfterSave::Destroy => destroy(tools, domain),
        AfterSave::Continue => go_on(tools, &suspended),
        AfterSave::Pause => {
            tools.xen.pause_domain(DomId(domain))?;
            go_on(tools, &suspended)
        }
    }
}

fn write(
    tools: &Toolstack,
    info: &DomctlGetdomaininfo,
    config: &[u8],
    file: File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), MigrationError> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    migration::file::write_header(&mut out, config)?;
    migration::save::save(&*tools.xen, info, &mut out, progress)?;
    out.flush()?;
    Ok(())
}

fn info(tools: &Toolstack, domain: u16) -> Result<DomctlGetdomaininfo, ToolError> {
    let info = tools.xen.domain_info(DomId(domain))?;
    info.ok_or_else(|| ToolError::new(Code::NotFound, format!("domain {domain} has gone")))
}

/// Asks the guest to suspend itself and waits until it has.
fn suspend(tools: &Toolstack, domain: u16) -> Result<DomctlGetdomaininfo, ToolError> {
    power::ask(tools, domain, "suspend")?;
    if let Err(error) = super::wait_for_end(tools, &[domain], Some(PATIENCE)) {
        // Not any more, if it has not taken the request up.
        let node = format!("/local/domain/{domain}/control/shutdown");
        let waiting = tools
            .store
            .text(&node)?
            .is_some_and(|word| word == "suspend");
        if waiting {
            tools.store.write(crate::store::Tx::NONE, &node, b"")?;
        }
        if error.code != Code::Timeout {
            return Err(error);
        }
        return Err(ToolError::new(
            Code::Timeout,
            format!(
                "domain {domain} did not suspend itself in {} seconds: it may not have started yet, or its kernel cannot",
                PATIENCE.as_secs()
            ),
        ));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let info = info(tools, domain)?;
        match State::of(&info).shutdown {
            Some(Reason::Suspend) => return Ok(info),
            Some(reason) => {
                return Err(ToolError::new(
                    Code::GuestRefused,
                    format!(
                        "domain {domain} {} instead of suspending itself",
                        reason.describe()
                    ),
                ));
            }
            None if Instant::now() > deadline => {
                return Err(ToolError::new(
                    Code::NotFound,
                    format!("domain {domain} is ending"),
                ));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn go_on(tools: &Toolstack, info: &DomctlGetdomaininfo) -> Result<(), ToolError> {
    migration::save::resume(&*tools.xen, info)?;
    tools.store.resume(info.domain.0)?;
    Ok(())
}

/// libxl's configuration of the guest as it is now.
fn config(tools: &Toolstack, info: &DomctlGetdomaininfo) -> Result<Vec<u8>, ToolError> {
    let domain = info.domain.0;
    let uuid = lookup::uuid_of(info);
    let kept = libxl_json::read(domain, uuid);
    let known = || record::of(domain).map(|record| libxl_json::of(&record.config, uuid));
    let mut config: Value = kept.or_else(known).ok_or_else(|| {
        ToolError::new(
            Code::NotFound,
            format!("domain {domain} has no configuration (neither xeno nor xl has made it): it cannot be saved"),
        )
    })?;
    let home = format!("/local/domain/{domain}");
    let text = |node: &str| tools.store.text(&format!("{home}/{node}"));
    let mut put = |part: &str, key: &str, value: Value| {
        if let Some(fields) = config[part].as_object_mut() {
            fields.insert(key.into(), value);
        }
    };
    if let Some(name) = text("name")? {
        put("c_info", "name", json!(name));
    }
    for (node, key) in [
        ("memory/target", "target_memkb"),
        ("memory/static-max", "max_memkb"),
    ] {
        if let Some(kib) = text(node)?.and_then(|text| text.parse::<u64>().ok()) {
            put("b_info", key, json!(kib));
        }
    }
    let mut online = Vec::new();
    for vcpu in 0..=info.max_vcpu_id {
        if tools.xen.vcpu_info(info.domain, vcpu)?.online != 0 {
            online.push(vcpu);
        }
    }
    put("b_info", "avail_vcpus", json!(online));
    let mut text = serde_json::to_vec(&config)
        .map_err(|error| ToolError::new(Code::Other, error.to_string()))?;
    // As xl does, which reads it as a C string.
    text.push(0);
    Ok(text)
}

impl From<MigrationError> for ToolError {
    fn from(error: MigrationError) -> Self {
        match error {
            MigrationError::Xen(error) => error.into(),
            MigrationError::Guest(_) => Self::new(Code::GuestRefused, error.to_string()),
            MigrationError::Format(_) => Self::new(Code::Usage, error.to_string()),
            MigrationError::Io(_) => Self::new(Code::Other, error.to_string()),
        }
    }
}
