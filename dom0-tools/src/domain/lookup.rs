//! Domains by name, id or UUID.

use hypercall_abi::domctl::DomctlGetdomaininfo;
use hypercall_abi::xen::DomId;

use super::{Code, ToolError, Toolstack};
use crate::config::Uuid;
use crate::store::{StoreError, Tx};

/// The name of a domain; "(null)" for one that has none, as xl prints it.
///
/// # Errors
/// The store's.
pub fn name_of(tools: &Toolstack, domain: u16) -> Result<String, StoreError> {
    let name = tools.store.text(&format!("/local/domain/{domain}/name"))?;
    Ok(name
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| if domain == 0 { "Domain-0" } else { "(null)" }.into()))
}

/// A domain's UUID.
#[must_use]
pub fn uuid_of(info: &DomctlGetdomaininfo) -> Uuid {
    Uuid(info.handle)
}

/// All domains with their names.
///
/// # Errors
/// The hypervisor's and the store's.
pub fn all(tools: &Toolstack) -> Result<Vec<(DomctlGetdomaininfo, String)>, ToolError> {
    let domains = tools.xen.domains()?;
    domains
        .into_iter()
        .map(|info| {
            let name = name_of(tools, info.domain.0)?;
            Ok((info, name))
        })
        .collect()
}

/// The domain that `text` names: a number is an id, anything else a name.
///
/// # Errors
/// There is no such domain; the message lists those that there are.
pub fn find(tools: &Toolstack, text: &str) -> Result<DomctlGetdomaininfo, ToolError> {
    if let Ok(id) = text.parse::<u16>() {
        let info = if id < DomId::FIRST_RESERVED.0 {
            tools.xen.domain_info(DomId(id))?
        } else {
            None
        };
        return info.ok_or_else(|| missing(tools, text));
    }
    let domains = all(tools)?;
    let found = domains.into_iter().find(|(_, name)| name == text);
    found
        .map(|(info, _)| info)
        .ok_or_else(|| missing(tools, text))
}

fn missing(tools: &Toolstack, text: &str) -> ToolError {
    let domains = all(tools).unwrap_or_default();
    let names: Vec<String> = domains
        .iter()
        .map(|(info, name)| format!("{name} ({})", info.domain.0))
        .collect();
    ToolError::new(
        Code::NotFound,
        format!(
            "domain \"{text}\" does not exist; there are: {}",
            names.join(", ")
        ),
    )
}

/// Gives a domain another name.
///
/// # Errors
/// The name is taken or no name.
pub fn rename(tools: &Toolstack, domain: u16, name: &str) -> Result<(), ToolError> {
    if let Some(problem) = crate::config::name_problem(name) {
        return Err(ToolError::new(
            Code::Usage,
            format!("the name \"{name}\" {problem}"),
        ));
    }
    check_free(tools, name, Some(domain))?;
    crate::store::transact(&*tools.store, |tx| -> Result<(), ToolError> {
        let folder = format!("/local/domain/{domain}");
        tools
            .store
            .write(tx, &format!("{folder}/name"), name.as_bytes())?;
        if let Some(vm) = tools.store.read(tx, &format!("{folder}/vm"))? {
            let vm = String::from_utf8_lossy(&vm).into_owned();
            tools
                .store
                .write(tx, &format!("{vm}/name"), name.as_bytes())?;
        }
        Ok(())
    })?;
    super::record::rename(domain, name);
    Ok(())
}

/// Refuses a name that another domain has.
pub(super) fn check_free(
    tools: &Toolstack,
    name: &str,
    except: Option<u16>,
) -> Result<(), ToolError> {
    for id in tools.store.numbered("/local/domain")? {
        let Ok(id) = u16::try_from(id) else { continue };
        if Some(id) == except {
            continue;
        }
        let taken = tools
            .store
            .read(Tx::NONE, &format!("/local/domain/{id}/name"))?
            .is_some_and(|other| other == name.as_bytes());
        if taken && tools.xen.domain_info(DomId(id))?.is_some() {
            return Err(ToolError::new(
                Code::Exists,
                format!(
                    "the name \"{name}\" is taken by domain {id}: choose another name (xeno create FILE name=...), or end that \
                     domain first (xeno shutdown {name}, xeno destroy {name})"
                ),
            ));
        }
    }
    Ok(())
}
