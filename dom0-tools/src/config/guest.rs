//! What a PV guest is made of, from the settings of its configuration.

use serde::{Deserialize, Serialize};

use super::keys::{self, Support};
use super::{Assignment, ConfigError, Disk, Uuid, Value, Vif};

/// What happens when a guest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes.
    Destroy,
    /// It goes and a new one is built.
    Restart,
    /// It stays under another name, and a new one is built.
    RenameRestart,
    /// It stays for inspection.
    Preserve,
}

impl Action {
    const NAMES: [(&'static str, Self); 4] = [
        ("destroy", Self::Destroy),
        ("restart", Self::Restart),
        ("rename-restart", Self::RenameRestart),
        ("preserve", Self::Preserve),
    ];

    /// The action that xl.cfg names `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names
            .find(|(known, _)| *known == name)
            .map(|(_, action)| *action)
    }

    /// The action as xl.cfg names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, action)| *action == self)
            .map_or("destroy", |(name, _)| name)
    }
}

/// What happens for each reason why a guest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the keys without on_")]
pub struct Actions {
    pub poweroff: Action,
    pub reboot: Action,
    pub crash: Action,
    pub watchdog: Action,
    pub soft_reset: Action,
}

/// How the guest sees the time-stamp counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TscMode {
    /// The hypervisor chooses.
    Default = 0,
    /// Always emulated.
    AlwaysEmulate = 1,
    /// The processor's.
    Native = 2,
}

/// How many vCPUs there are and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcpus {
    /// Online when the guest starts.
    pub online: u32,
    /// At most.
    pub max: u32,
}

/// A PV guest's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// The name, unique among running guests.
    pub name: String,
    /// The UUID as text; random when it is absent.
    pub uuid: Option<String>,
    /// The kernel's file.
    pub kernel: String,
    /// The initial RAM disk's file.
    pub ramdisk: Option<String>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Memory in MiB when it starts.
    pub memory_mib: u64,
    /// Memory in MiB at most.
    pub max_memory_mib: u64,
    /// Virtual processors.
    pub vcpus: Vcpus,
    /// Processors that its vCPUs may run on: one list for all, or one for each.
    pub cpus: Vec<String>,
    /// Processors that its vCPUs prefer.
    pub cpus_soft: Vec<String>,
    /// The pool of processors.
    pub pool: Option<String>,
    /// Share of processor time.
    pub cpu_weight: Option<u16>,
    /// Limit of processor time, percent of one.
    pub cap: Option<u16>,
    /// What happens when it ends.
    pub actions: Actions,
    /// Disks.
    pub disks: Vec<Disk>,
    /// Network cards.
    pub vifs: Vec<Vif>,
    /// The time-stamp counter.
    pub tsc_mode: TscMode,
    /// Whether it shall never be migrated, so that it may be shown an invariant time-stamp counter.
    pub nomigrate: bool,
    /// Whether unknown MSRs read as zero.
    pub msr_relaxed: bool,
    /// The clock's distance from UTC in seconds.
    pub time_offset: i64,
    /// Limits of the hypervisor's tables for it.
    pub max_grant_frames: Option<u32>,
    /// Likewise.
    pub max_maptrack_frames: Option<u32>,
    /// The highest grant-table version.
    pub max_grant_version: Option<u32>,
    /// Highest event channel; 1023 by default.
    pub max_event_channels: Option<u32>,
}

impl GuestConfig {
    /// From settings.
    ///
    /// # Errors
    /// A key is unknown or not supported, a value has the wrong type or range, or a necessary key is missing.
    pub fn new(file: &str, settings: &[Assignment]) -> Result<Self, ConfigError> {
        for setting in settings {
            check_key(setting)?;
        }
        Reader { file, settings }.guest()
    }
}

/// Refuses keys that do not exist or cannot be honoured.
fn check_key(setting: &Assignment) -> Result<(), ConfigError> {
    let Assignment {
        file, line, name, ..
    } = setting;
    let message = match keys::support(name) {
        Some(Support::Full | Support::OtherGuests) => return Ok(()),
        Some(Support::No(advice)) => match &setting.value {
            // An empty list asks for nothing.
            Value::List(list) if list.is_empty() => return Ok(()),
            Value::Number(0) => return Ok(()),
            _ => format!("{name} is not supported: {advice}"),
        },
        None => match keys::similar(name) {
            Some(similar) => format!("unknown key {name}; did you mean {similar}?"),
            None => format!("unknown key {name}; docs/xl-cfg.md lists the keys that exist"),
        },
    };
    Err(ConfigError::new(file, *line, message))
}

struct Reader<'a> {
    file: &'a str,
    settings: &'a [Assignment],
}

impl Reader<'_> {
    fn guest(&self) -> Result<GuestConfig, ConfigError> {
        self.check_type()?;
        let name = self.required_text("name")?;
        if let Some(problem) = name_problem(&name) {
            return Err(self.error_at("name", format!("name \"{name}\" {problem}")));
        }
        let kernel = self.required_text("kernel")?;
        let memory_mib = self.memory()?;
        let max_memory_mib = self.number("maxmem", 1, 1 << 34)?.unwrap_or(memory_mib);
        if max_memory_mib < memory_mib {
            return Err(self.error_at(
                "maxmem",
                format!("maxmem = {max_memory_mib} is less than memory = {memory_mib}: expected at least as much"),
            ));
        }
        let online = self.number32("vcpus", 1, 8192)?;
        let max = self.number32("maxvcpus", 1, 8192)?;
        let max = max.or(online).unwrap_or(1);
        let online = online.unwrap_or(max.min(1));
        if online > max {
            return Err(self.error_at(
                "maxvcpus",
                format!(
                    "maxvcpus = {max} is less than vcpus = {online}: expected at least as many"
                ),
            ));
        }
        let uuid = self.text("uuid")?;
        if let Some(text) = &uuid
            && Uuid::parse(text).is_none()
        {
            return Err(self.error_at(
                "uuid",
                format!("uuid = \"{text}\": expected 32 hexadecimal digits such as 8a1c2d30-1b2c-4d3e-8f90-a1b2c3d4e5f6"),
            ));
        }
        Ok(GuestConfig {
            name,
            uuid,
            kernel,
            ramdisk: self.text("ramdisk")?,
            cmdline: self.cmdline()?,
            memory_mib,
            max_memory_mib,
            vcpus: Vcpus { online, max },
            cpus: self.cpu_lists("cpus")?,
            cpus_soft: self.cpu_lists("cpus_soft")?,
            pool: self.text("pool")?,
            cpu_weight: self.number16("cpu_weight", 1, 65535)?,
            cap: self.number16("cap", 0, 65535)?,
            actions: Actions {
                poweroff: self.action("on_poweroff", Action::Destroy)?,
                reboot: self.action("on_reboot", Action::Restart)?,
                crash: self.action("on_crash", Action::Destroy)?,
                watchdog: self.action("on_watchdog", Action::Destroy)?,
                soft_reset: self.action("on_soft_reset", Action::Restart)?,
            },
            disks: self.disks()?,
            vifs: self.vifs()?,
            tsc_mode: self.tsc_mode()?,
            nomigrate: self.flag("nomigrate")?.unwrap_or(false),
            msr_relaxed: self.flag("msr_relaxed")?.unwrap_or(false),
            time_offset: self.time_offset()?,
            max_grant_frames: self.number32("max_grant_frames", 1, 1 << 20)?,
            max_maptrack_frames: self.number32("max_maptrack_frames", 0, 1 << 20)?,
            max_grant_version: self.number32("max_grant_version", 1, 2)?,
            max_event_channels: match self.number32("max_event_channels", 1, 1 << 17)? {
                Some(limit) => Some(limit),
                None => self.number32("event_channels", 1, 1 << 17)?,
            },
        })
    }

    fn check_type(&self) -> Result<(), ConfigError> {
        for key in ["type", "builder"] {
            let Some(kind) = self.text(key)? else {
                continue;
            };
            let wrong = match (key, kind.as_str()) {
                ("type", "pv") | ("builder", "generic" | "linux" | "pv") => continue,
                (_, "pvh" | "hvm") => {
                    format!(
                        "{key} = \"{kind}\": only PV guests can be built, expected type = \"pv\""
                    )
                }
                _ => format!("{key} = \"{kind}\": expected type = \"pv\""),
            };
            return Err(self.error_at(key, wrong));
        }
        Ok(())
    }

    fn memory(&self) -> Result<u64, ConfigError> {
        let memory = self.number("memory", 1, 1 << 34)?;
        match memory {
            Some(memory) => Ok(memory),
            // xl does the same where only the limit is given.
            None => Ok(self.number("maxmem", 1, 1 << 34)?.unwrap_or(32)),
        }
    }

    /// `cmdline`, or `root` and `extra` together.
    fn cmdline(&self) -> Result<String, ConfigError> {
        let root = self.text("root")?;
        let extra = self.text("extra")?;
        if let Some(cmdline) = self.text("cmdline")? {
            if root.is_some() || extra.is_some() {
                return Err(self.error_at(
                    "cmdline",
                    "cmdline replaces root and extra: expected either it or them",
                ));
            }
            return Ok(cmdline);
        }
        let root = root.map(|root| format!("root={root}"));
        Ok([root, extra]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" "))
    }

    fn action(&self, key: &str, default: Action) -> Result<Action, ConfigError> {
        let Some(name) = self.text(key)? else {
            return Ok(default);
        };
        if key == "on_soft_reset" && name == "soft-reset" {
            return Ok(Action::Restart);
        }
        if name.starts_with("coredump-") {
            return Err(self.error_at(
                key,
                format!("{key} = \"{name}\": core files are not written; expected preserve, which keeps the guest's memory"),
            ));
        }
        let names = Action::NAMES.iter();
        let found = names.clone().find(|(known, _)| *known == name);
        found.map(|(_, action)| *action).ok_or_else(|| {
            let names: Vec<&str> = names.map(|(name, _)| *name).collect();
            self.error_at(
                key,
                format!("{key} = \"{name}\": expected {}", names.join(", ")),
            )
        })
    }

    fn tsc_mode(&self) -> Result<TscMode, ConfigError> {
        let Some(setting) = self.find("tsc_mode") else {
            return Ok(TscMode::Default);
        };
        match &setting.value {
            Value::Number(0) => Ok(TscMode::Default),
            Value::Number(1) => Ok(TscMode::AlwaysEmulate),
            Value::Number(2) => Ok(TscMode::Native),
            Value::Text(text) if text == "default" => Ok(TscMode::Default),
            Value::Text(text) if text == "always_emulate" => Ok(TscMode::AlwaysEmulate),
            Value::Text(text) if text == "native" => Ok(TscMode::Native),
            other => Err(wrong(
                setting,
                "\"default\", \"always_emulate\" or \"native\"",
                other,
            )),
        }
    }

    fn time_offset(&self) -> Result<i64, ConfigError> {
        let offset = self.number("rtc_timeoffset", 0, 1 << 31)?;
        Ok(offset
            .and_then(|offset| i64::try_from(offset).ok())
            .unwrap_or(0))
    }

    /// One list for all vCPUs, or one for each.
    fn cpu_lists(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let Some(setting) = self.find(key) else {
            return Ok(Vec::new());
        };
        let one = |value: &Value| match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(wrong(
                setting,
                "a list of processors such as \"0-3\"",
                other,
            )),
        };
        match &setting.value {
            Value::List(list) => list.iter().map(|(_, value)| one(value)).collect(),
            value => Ok(vec![one(value)?]),
        }
    }

    fn disks(&self) -> Result<Vec<Disk>, ConfigError> {
        let mut disks: Vec<Disk> = Vec::new();
        for (line, text) in self.texts("disk")? {
            let disk = Disk::parse(&text).map_err(|problem| {
                ConfigError::new(self.file_of("disk"), line, format!("disk: {problem}"))
            })?;
            if let Some(other) = disks.iter().find(|other| other.device() == disk.device()) {
                let message = format!(
                    "disk: {} is taken by {}: expected another vdev",
                    disk.vdev, other.target
                );
                return Err(ConfigError::new(self.file_of("disk"), line, message));
            }
            disks.push(disk);
        }
        Ok(disks)
    }

    fn vifs(&self) -> Result<Vec<Vif>, ConfigError> {
        self.texts("vif")?
            .into_iter()
            .map(|(line, text)| {
                Vif::parse(&text).map_err(|problem| {
                    ConfigError::new(self.file_of("vif"), line, format!("vif: {problem}"))
                })
            })
            .collect()
    }

    fn find(&self, key: &str) -> Option<&Assignment> {
        self.settings
            .iter()
            .find(|setting| setting.name.replace('-', "_") == key)
    }

    fn file_of(&self, key: &str) -> &str {
        self.find(key).map_or(self.file, |setting| &setting.file)
    }

    fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.find(key) {
            None => Ok(None),
            Some(setting) => match &setting.value {
                Value::Text(text) => Ok(Some(text.clone())),
                other => Err(wrong(setting, "a string in quotes", other)),
            },
        }
    }

    fn required_text(&self, key: &str) -> Result<String, ConfigError> {
        self.text(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| {
                ConfigError::new(
                    self.file,
                    self.find(key).map_or(0, |setting| setting.line),
                    format!("{key} is missing: expected {key} = \"...\""),
                )
            })
    }

    fn number(&self, key: &str, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        let Some(setting) = self.find(key) else {
            return Ok(None);
        };
        let number = match &setting.value {
            Value::Number(number) => Some(*number),
            // xl takes numbers in quotes, too.
            Value::Text(text) => text.trim().parse().ok(),
            Value::List(_) => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(number) => Err(ConfigError::new(
                &setting.file,
                setting.line,
                format!("{key} = {number}: expected a number from {min} to {max}"),
            )),
            None => Err(wrong(setting, "a number", &setting.value)),
        }
    }

    fn number32(&self, key: &str, min: u64, max: u64) -> Result<Option<u32>, ConfigError> {
        let number = self.number(key, min, max)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    fn number16(&self, key: &str, min: u64, max: u64) -> Result<Option<u16>, ConfigError> {
        let number = self.number(key, min, max)?;
        Ok(number.and_then(|number| u16::try_from(number).ok()))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        Ok(self.number(key, 0, 1)?.map(|number| number == 1))
    }

    /// A list of strings with their lines.
    fn texts(&self, key: &str) -> Result<Vec<(u32, String)>, ConfigError> {
        let Some(setting) = self.find(key) else {
            return Ok(Vec::new());
        };
        let Value::List(list) = &setting.value else {
            return Err(wrong(
                setting,
                "a list of strings in brackets",
                &setting.value,
            ));
        };
        list.iter()
            .map(|(line, value)| match value {
                Value::Text(text) => Ok((*line, text.clone())),
                other => Err(ConfigError::new(
                    &setting.file,
                    *line,
                    format!(
                        "{key}: expected a string in quotes, found {}",
                        other.describe()
                    ),
                )),
            })
            .collect()
    }

    fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let line = self.find(key).map_or(0, |setting| setting.line);
        ConfigError::new(self.file_of(key), line, message)
    }
}

fn wrong(setting: &Assignment, expected: &str, found: &Value) -> ConfigError {
    ConfigError::new(
        &setting.file,
        setting.line,
        format!(
            "{}: expected {expected}, found {}",
            setting.name,
            found.describe()
        ),
    )
}

/// What is wrong with a domain's name, if anything.
pub(crate) fn name_problem(name: &str) -> Option<&'static str> {
    if name.len() > 255 {
        Some("is longer than 255 characters")
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("is a number, which would be taken for a domain's id")
    } else if name.contains(|char: char| char == '/' || char.is_control()) {
        Some("contains a slash or a control character")
    } else {
        None
    }
}
