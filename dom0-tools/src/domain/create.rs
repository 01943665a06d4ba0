//! Making a domain: everything that can fail without one comes first, and whatever fails later takes the domain away again.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypercall_abi::domctl::{DomctlCreatedomain, DomctlTscInfo, SchedulerId};
use hypercall_abi::sysctl::Physcap;
use hypercall_abi::xen::DomId;
use zerocopy::FromZeros as _;

use super::record::{self, Held, Phase, Record};
use super::{Code, DOM0, ToolError, Toolstack, balloon, destroy, libxl_json, lookup, store_nodes};
use crate::builder::{self, KernelFile, Request};
use crate::config::{GuestConfig, TscMode, Uuid, parse_cpu_list};
use crate::device::{self, Prepared};
use crate::migration;
use crate::store::{Batch, transact};
use crate::sys::file_lock;
use crate::xen::domctl::{CpuSet, SchedParams};

/// KiB that a domain may have beyond its memory, as libxl allows it.
const EXTRA_KIB: u64 = 1024;
/// `max_evtchn_port` that libxl gives.
const MAX_PORT: u32 = 1023;
/// Security label of guests, as libxl gives it; without a policy it means nothing.
const SSIDREF_DOMU: u32 = 12;
/// Serialises the checks that two creators could pass at the same time.
const LOCK: &str = "/run/xeno/create.lock";

/// How a new domain starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// It stays paused.
    pub paused: bool,
    /// The caller watches it itself instead of the supervisor.
    pub foreground: bool,
}

/// A domain that was made. It is paused until [`Created::start`].
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub domain: u16,
    /// Its UUID.
    pub uuid: Uuid,
    held: Held,
    /// The devices, whose loop devices are held open until here.
    _prepared: Prepared,
}

impl Created {
    /// Hands the domain over: to the supervisor, or to the caller (`foreground`), and lets it run unless it is to stay paused.
    ///
    /// # Errors
    /// The hypervisor refuses.
    pub fn start(mut self, tools: &Toolstack, start: Start) -> Result<Running, ToolError> {
        let phase = if start.foreground {
            Phase::Foreground
        } else {
            Phase::Ready
        };
        self.held.set_phase(phase)?;
        if !start.paused {
            tools.xen.unpause_domain(DomId(self.domain))?;
        }
        Ok(Running {
            domain: self.domain,
            _held: self.held,
        })
    }
}

/// A domain that was started. While this value lives, the supervisor leaves the domain to the caller.
#[derive(Debug)]
pub struct Running {
    /// Its id.
    pub domain: u16,
    _held: Held,
}

/// What a new domain's memory holds.
enum Contents<'a> {
    /// A kernel that starts.
    Kernel(KernelFile),
    /// A guest that was saved; who is told how much of it is there.
    Image(&'a mut dyn Read, &'a mut dyn FnMut(u64, u64)),
}

/// The rings of a domain whose memory is filled.
struct Rings {
    store: u64,
    console: u64,
}

/// Makes a domain of `config`, paused.
///
/// # Errors
/// A file, disk, bridge or name is unusable, memory is missing, or the hypervisor refuses; nothing is left then.
pub fn create(tools: &Toolstack, config: &GuestConfig) -> Result<Created, ToolError> {
    // Without a domain.
    let cache = builder::Cache::default();
    let kernel = KernelFile::open(&config.kernel, Some(&cache))?;
    kernel.parse()?;
    if let Some(ramdisk) = &config.ramdisk {
        std::fs::metadata(ramdisk).map_err(|error| builder::BuildError::File {
            what: "ramdisk",
            path: ramdisk.clone(),
            error,
        })?;
    }
    make(tools, config, &mut Contents::Kernel(kernel))
}

/// Makes a domain of `config`, paused, and fills it with the guest that was saved in `image`, which stands behind the header of
/// the file.
///
/// # Errors
/// As for [`create`], or the image is damaged.
pub fn restore(
    tools: &Toolstack,
    config: &GuestConfig,
    image: &mut dyn Read,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Created, ToolError> {
    make(tools, config, &mut Contents::Image(image, progress))
}

fn make(
    tools: &Toolstack,
    config: &GuestConfig,
    contents: &mut Contents<'_>,
) -> Result<Created, ToolError> {
    let uuid = match config.uuid.as_deref().and_then(Uuid::parse) {
        Some(uuid) => uuid,
        None => Uuid::random()?,
    };
    check_processors(tools, config)?;
    check_modules(config)?;

    std::fs::create_dir_all(Path::new("/run/xeno/domains"))?;
    let lock = std::fs::File::create(LOCK)?;
    file_lock::lock(&lock, true)?;
    lookup::check_free(tools, &config.name, None)?;
    check_uuid(tools, uuid)?;
    let prepared = Prepared::new(tools, config, uuid)?;
    balloon::free_pages_for(tools, config)?;

    let description = description(tools, config, uuid)?;
    let mut held = Held::begin(Record {
        domain: None,
        uuid: uuid.to_string(),
        phase: Phase::Building,
        config: config.clone(),
    })?;
    let domain = match tools.xen.create_domain(description, None) {
        Ok(domain) => domain,
        Err(error) => {
            record::remove(&uuid.to_string());
            return Err(memory_hint(tools, config, error.into()));
        }
    };
    let result = held
        .set_domain(domain.0)
        .map_err(ToolError::from)
        .and_then(|()| {
            first_nodes(tools, domain.0, uuid, config)?;
            // The name is taken from here on, and so are the disks once their nodes are written.
            fill(tools, domain, uuid, config, contents, &prepared)
        });
    drop(lock);
    match result {
        Ok(()) => Ok(Created {
            domain: domain.0,
            uuid,
            held,
            _prepared: prepared,
        }),
        Err(error) => {
            // What was there of the domain goes; the error to report is the first one.
            let _ = destroy(tools, domain.0);
            Err(memory_hint(tools, config, error))
        }
    }
}

/// Builds the domain and connects its devices.
fn fill(
    tools: &Toolstack,
    domain: DomId,
    uuid: Uuid,
    config: &GuestConfig,
    contents: &mut Contents<'_>,
    prepared: &Prepared,
) -> Result<(), ToolError> {
    let xen = &*tools.xen;
    let dom0 = DomId(DOM0);
    xen.set_max_vcpus(domain, config.vcpus.max)?;
    set_affinity(tools, domain, config)?;
    xen.set_max_memory(domain, (config.memory_mib << 10) + EXTRA_KIB)?;
    let store_port = xen.alloc_unbound(domain, dom0)?;
    let console_port = xen.alloc_unbound(domain, dom0)?;
    xen.set_memory_limit_map(domain, config.max_memory_mib << 10)?;
    let mut tsc = DomctlTscInfo::new_zeroed();
    tsc.tsc_mode = config.tsc_mode as u32;
    xen.set_tsc(domain, tsc)?;
    if config.time_offset != 0 {
        xen.set_time_offset(domain, config.time_offset)?;
    }
    let invariant_tsc = config.nomigrate || config.tsc_mode == TscMode::AlwaysEmulate;
    builder::apply_cpu_policy(xen, domain, invariant_tsc)?;
    xen.set_address_size(domain, 64)?;
    let rings = fill_memory(tools, domain, config, contents, [store_port, console_port])?;
    set_scheduling(tools, domain, config)?;

    let ring = (rings.store, store_port);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let mut batches = vec![
        store_nodes::second(domain.0, uuid, config, ring, now.as_secs_f64()),
        device::console::nodes(domain.0, rings.console, console_port),
    ];
    batches.extend(prepared.nodes(domain.0));
    if matches!(contents, Contents::Image(..)) {
        batches.push(store_nodes::listening(domain.0));
    }
    write(tools, &batches)?;
    tools.store.introduce(domain.0, rings.store, store_port)?;
    prepared.connect(tools, domain.0)?;
    libxl_json::write(domain.0, uuid, config);
    Ok(())
}

/// Fills the memory of the domain, whose ports for store and console are `ports`.
fn fill_memory(
    tools: &Toolstack,
    domain: DomId,
    config: &GuestConfig,
    contents: &mut Contents<'_>,
    ports: [u32; 2],
) -> Result<Rings, ToolError> {
    let xen = &*tools.xen;
    let [store_port, console_port] = ports;
    let pages = config.memory_mib << 8;
    match contents {
        Contents::Kernel(kernel) => {
            let built = builder::build(
                xen,
                &Request {
                    domain,
                    backend: DomId(DOM0),
                    kernel,
                    ramdisk: config.ramdisk.as_deref(),
                    cmdline: &config.cmdline,
                    pages,
                    store_port,
                    console_port,
                },
            )?;
            Ok(Rings {
                store: built.store_mfn,
                console: built.console_mfn,
            })
        }
        Contents::Image(image, progress) => {
            let request = migration::restore::Request {
                domain,
                pages: config.max_memory_mib << 8,
                store_port,
                console_port,
                vcpus: config.vcpus.max,
            };
            let restored = migration::restore::restore(xen, request, *image, *progress)?;
            let (store, console) = (restored.store_mfn, restored.console_mfn);
            builder::grant_rings(xen, domain, DomId(DOM0), console, store)?;
            Ok(Rings { store, console })
        }
    }
}

fn first_nodes(
    tools: &Toolstack,
    domain: u16,
    uuid: Uuid,
    config: &GuestConfig,
) -> Result<(), ToolError> {
    transact(&*tools.store, |tx| {
        for old in [
            format!("/local/domain/{domain}"),
            format!("/libxl/{domain}"),
        ] {
            tools.store.remove(tx, &old)?;
        }
        Ok(store_nodes::first(domain, uuid, config).write(&*tools.store, tx)?)
    })
}

fn write(tools: &Toolstack, batches: &[Batch]) -> Result<(), ToolError> {
    transact(&*tools.store, |tx| {
        for batch in batches {
            batch.write(&*tools.store, tx)?;
        }
        Ok(())
    })
}

fn description(
    tools: &Toolstack,
    config: &GuestConfig,
    uuid: Uuid,
) -> Result<DomctlCreatedomain, ToolError> {
    let physinfo = tools.xen.physinfo()?;
    let capabilities = Physcap::from_bits_retain(physinfo.capabilities);
    if !capabilities.contains(Physcap::PV) {
        return Err(ToolError::new(
            Code::HypervisorRefused,
            "this hypervisor runs no PV guests (xeno info: virt_caps has no pv)",
        ));
    }
    let best = if capabilities.contains(Physcap::GNTTAB_V2) {
        2
    } else {
        1
    };
    let limit = |limit: Option<u32>| limit.and_then(|limit| i32::try_from(limit).ok());
    let mut create = DomctlCreatedomain::new_zeroed();
    create.ssidref = SSIDREF_DOMU;
    create.handle = uuid.0;
    create.max_vcpus = config.vcpus.max;
    create.max_evtchn_port = config.max_event_channels.unwrap_or(MAX_PORT);
    // Negative: the hypervisor's default.
    create.max_grant_frames = limit(config.max_grant_frames).unwrap_or(-1);
    create.max_maptrack_frames = limit(config.max_maptrack_frames).unwrap_or(-1);
    create.grant_opts = config.max_grant_version.unwrap_or(best).min(best);
    create.arch.misc_flags = u32::from(config.msr_relaxed);
    Ok(create)
}

fn set_affinity(tools: &Toolstack, domain: DomId, config: &GuestConfig) -> Result<(), ToolError> {
    let cpus = tools.xen.physinfo()?.max_cpu_id + 1;
    let of = |lists: &[String], vcpu: u32| -> Result<Option<CpuSet>, ToolError> {
        let list = match lists {
            [] => return Ok(None),
            [all] => all,
            each => match each.get(vcpu as usize) {
                Some(list) => list,
                None => return Ok(None),
            },
        };
        parse_cpu_list(list, cpus)
            .map(Some)
            .map_err(|error| ToolError::new(Code::Usage, error.to_string()))
    };
    for vcpu in 0..config.vcpus.max {
        let hard = of(&config.cpus, vcpu)?;
        let soft = of(&config.cpus_soft, vcpu)?;
        if hard.is_some() || soft.is_some() {
            tools
                .xen
                .set_vcpu_affinity(domain, vcpu, hard.as_ref(), soft.as_ref())?;
        }
    }
    Ok(())
}

fn set_scheduling(tools: &Toolstack, domain: DomId, config: &GuestConfig) -> Result<(), ToolError> {
    if config.cpu_weight.is_none() && config.cap.is_none() {
        return Ok(());
    }
    let scheduler = tools.xen.scheduler()?;
    if !matches!(scheduler, SchedulerId::CREDIT | SchedulerId::CREDIT2) {
        return Err(ToolError::new(
            Code::Usage,
            "cpu_weight and cap mean nothing to the scheduler that runs: leave them out",
        ));
    }
    let before = tools.xen.sched_params(domain, scheduler)?;
    let params = SchedParams {
        weight: config.cpu_weight.unwrap_or(before.weight),
        cap: config.cap.unwrap_or(before.cap),
    };
    Ok(tools.xen.set_sched_params(domain, scheduler, params)?)
}

/// Refuses lists of processors that no domain could have, before there is one.
fn check_processors(tools: &Toolstack, config: &GuestConfig) -> Result<(), ToolError> {
    let cpus = tools.xen.physinfo()?.max_cpu_id + 1;
    for list in config.cpus.iter().chain(&config.cpus_soft) {
        parse_cpu_list(list, cpus)
            .map_err(|error| ToolError::new(Code::Usage, format!("cpus: {error}")))?;
    }
    if let Some(pool) = &config.pool
        && pool != "Pool-0"
        && pool != "0"
    {
        return Err(ToolError::new(
            Code::NotFound,
            format!("pool \"{pool}\" does not exist: there is Pool-0, leave pool out"),
        ));
    }
    Ok(())
}

/// Refuses devices whose back end is not there, with the way to load it.
fn check_modules(config: &GuestConfig) -> Result<(), ToolError> {
    let drivers = Path::new("/sys/bus/xen-backend/drivers");
    for (wanted, driver, module) in [
        (!config.disks.is_empty(), "vbd", "xen-blkback"),
        (!config.vifs.is_empty(), "vif", "xen-netback"),
    ] {
        if wanted && !drivers.join(driver).exists() {
            return Err(ToolError::new(
                Code::NotFound,
                format!(
                    "dom0's kernel has no {driver} back end: load the module {module} (modprobe {module})"
                ),
            ));
        }
    }
    Ok(())
}

/// Refuses a UUID that another domain has.
fn check_uuid(tools: &Toolstack, uuid: Uuid) -> Result<(), ToolError> {
    let domains = tools.xen.domains()?;
    let taken = domains.iter().find(|info| info.handle == uuid.0);
    match taken {
        Some(info) => Err(ToolError::new(
            Code::Exists,
            format!(
                "uuid {uuid} is that of domain {}: leave uuid out or choose another",
                info.domain.0
            ),
        )),
        None => Ok(()),
    }
}

/// A lack of memory, with what is free and who has the rest.
fn memory_hint(tools: &Toolstack, config: &GuestConfig, error: ToolError) -> ToolError {
    if error.code != Code::NoMemory {
        return error;
    }
    match balloon::shortage(tools, config) {
        Ok(hint) => ToolError::new(Code::NoMemory, format!("{}; {hint}", error.message)),
        Err(_) => error,
    }
}
