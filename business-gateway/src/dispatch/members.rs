//! The endpoints of a service as they are now: fixed where the catalog lists them, replaced aside where they are found.
//!
//! A call takes the set as it is when it is sent and keeps it to its end, so an endpoint that leaves in between finishes what it
//! has. Endpoints that stay keep their health, their connections and their slow start; those that come begin theirs.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use gatehouse_shared::balance::{EndpointSpec, Pool, PoolConfig};

use super::counters::Counters;
use super::upstream::pool::{Endpoint, Limits, Protocol};

/// The endpoints of a service at one moment.
#[derive(Debug)]
pub struct Set {
    /// As listed or found.
    pub specs: Box<[EndpointSpec]>,
    /// Chooses an endpoint and knows which are well.
    pub balance: Pool,
    /// The connections to each, in the order of the balance.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// What every set of a service is made with.
#[derive(Debug)]
pub struct Recipe {
    /// How one is chosen.
    pub balance: PoolConfig,
    /// What is spoken.
    pub protocol: Protocol,
    /// What bounds the connections.
    pub limits: Limits,
    /// Where they are counted.
    pub counters: Arc<Counters>,
}

impl Recipe {
    /// A set of these endpoints; health and connections of those that stay come from `before`.
    #[must_use]
    pub fn set(&self, specs: &[EndpointSpec], before: Option<&Set>, now: Instant) -> Set {
        let known = before.map(|before| before.endpoints.as_slice()).unwrap_or_default();
        let endpoint = |spec: &EndpointSpec| {
            let same = known.iter().find(|known| known.serves(spec.address, self.protocol, &self.limits));
            let new = || Arc::new(Endpoint::new(spec.address, self.protocol, self.limits, Arc::clone(&self.counters)));
            same.map_or_else(new, Arc::clone)
        };
        Set {
            specs: specs.into(),
            balance: Pool::compile(&self.balance, specs, before.map(|before| &before.balance), now),
            endpoints: specs.iter().map(endpoint).collect(),
        }
    }
}

/// The endpoints of a service.
#[derive(Debug)]
pub enum Members {
    /// Those in the catalog.
    Fixed(Set),
    /// Those found last. Only the one task that looks for them stores.
    Found(ArcSwap<Set>),
}

impl Members {
    /// The set as it is now.
    #[must_use]
    pub fn now(&self) -> Now<'_> {
        match self {
            Self::Fixed(set) => Now::Fixed(set),
            Self::Found(set) => Now::Found(set.load_full()),
        }
    }

    /// Goes on with these endpoints, if they are others than before; tells whether they are. What the catalog lists stays.
    pub fn replace(&self, recipe: &Recipe, specs: &[EndpointSpec], now: Instant) -> bool {
        let Self::Found(current) = self else { return false };
        let before = current.load();
        if *before.specs == *specs {
            return false;
        }
        current.store(Arc::new(recipe.set(specs, Some(&before), now)));
        true
    }
}

/// A set that stays as it is while somebody looks at it.
#[derive(Debug)]
pub enum Now<'a> {
    /// That of the catalog.
    Fixed(&'a Set),
    /// The one that was found last when it was asked for.
    Found(Arc<Set>),
}

impl Deref for Now<'_> {
    type Target = Set;

    fn deref(&self) -> &Set {
        match self {
            Self::Fixed(set) => set,
            Self::Found(set) => set,
        }
    }
}
