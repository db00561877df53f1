//! `api import`: makes APIs of an OpenAPI document, in the catalog of a running node or in the files of one that is stopped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gatehouse_shared::admin::Role;
use gatehouse_shared::admin::client::Call;
use gatehouse_shared::config::Sources;
use serde_json::json;

use super::api::{offline, read_text, told};
use super::call::{CommandError, Where};
use super::catalog::differences;
use super::{ConfigDir, print};
use crate::admit::validation::config::Bounds;
use crate::store::catalog::difference::difference;
use crate::store::catalog::objects::{Objects, tag};
use crate::store::file;
use crate::store::import::{Imported, Wishes, import};
use crate::store::revision::edit::{Edit, IfMatch};

/// Arguments of `api import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// An OpenAPI document of version 3.0 or 3.1, in JSON or YAML; - for standard input
    file: PathBuf,
    /// The name of the document in the catalog, with which the names of its APIs begin [default: that of the file]
    #[arg(long)]
    name: Option<String>,
    /// The service that answers [default: the name of the document; of APIs that are there, what they say]
    #[arg(long)]
    service: Option<String>,
    /// Make the service from "servers", where there is none of its name
    #[arg(long)]
    service_from_servers: bool,
    /// What stands before every path [default: the path of the first server]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Show what would change, and change nothing; that is so unless --into or --publish says otherwise
    #[arg(long, conflicts_with = "publish")]
    dry_run: bool,
    /// Write into catalog.d of this configuration directory, whose node is stopped
    #[arg(long, value_name = "DIR", conflicts_with = "publish")]
    into: Option<PathBuf>,
    /// Change the catalog of the running node, as one revision
    #[arg(long)]
    publish: bool,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    #[command(flatten)]
    at: Where,
}

impl Import {
    pub(super) fn run(&self) -> Result<ExitCode, CommandError> {
        let refused = |error: &dyn std::fmt::Display| CommandError::Refused(error.to_string());
        let text = read_text(&self.file)?;
        let before = self.before()?;
        let wishes = Wishes {
            name: self.name.clone().unwrap_or_else(|| stem(&self.file)),
            service: self.service.clone(),
            prefix: self.prefix.clone(),
            service_from_servers: self.service_from_servers,
        };
        let at = self.at();
        let business = at.business()?;
        let bounds = Bounds::from(&business.validation);
        let Imported { objects, warnings } =
            import(&text, &wishes, &before, bounds).map_err(|error| refused(&error))?;
        for warning in warnings {
            eprintln!("business-gateway: {}: {}", warning.place, warning.message);
        }
        let found = difference(&before, &objects);
        let shown = differences(&json!({ "differences": found }));
        if found.is_empty() || self.dry_run || (self.into.is_none() && !self.publish) {
            let end = if found.is_empty() { "nothing changes\n" } else { "nothing is changed: a dry run\n" };
            return Ok(print(&format!("{shown}{end}")));
        }
        let known = (before != Objects::default()).then(|| tag(&before.to_json()));
        if self.into.is_some() {
            let if_match = known.map_or(IfMatch::Unsaid, IfMatch::Tag);
            let what = format!("import {}", wishes.name);
            let done = offline(&at, &Edit::Replace(objects), if_match, self.why.as_deref(), &what)?;
            return Ok(print(&format!("{shown}{done}")));
        }
        let body = objects.to_json().to_string();
        let why = self.why.clone().unwrap_or_else(|| format!("import {}", wishes.name));
        let call = Call {
            method: "PUT",
            path: "/catalog".into(),
            query: vec![("why", why)],
            if_match: known,
            content_type: "application/json",
            body: body.as_bytes(),
        };
        let answer = at.call(Role::Operate, &call)?;
        Ok(told(&format!("{shown}imported {}", wishes.name), &answer))
    }

    /// The configuration that is meant.
    fn at(&self) -> Where {
        let mut at = self.at.clone();
        if let Some(dir) = &self.into {
            at.config = ConfigDir { dir: dir.clone() };
        }
        at
    }

    fn before(&self) -> Result<Objects, CommandError> {
        if let Some(dir) = &self.into {
            let (_, objects) = file::read_all(&mut Sources::new(dir))?;
            return Ok(objects);
        }
        Ok(Objects::from_json(self.at.get("/catalog", Vec::new())?)?)
    }
}

/// The name of a file without its ending.
fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
