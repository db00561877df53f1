//! Every reason, once: flat tables, one file for each tier and one for both.

mod edge;
mod business;
mod shaping;
mod both;

pub use both::*;
pub use business::*;
pub use edge::*;
pub use shaping::*;

use super::Reason;

/// The reasons of a section of the reference.
pub type Section = (&'static str, &'static [&'static Reason]);

/// The sub code of a reason that has one.
macro_rules! sub_code {
    () => {
        None
    };
    ($sub_code:literal) => {
        Some($sub_code)
    };
}

/// Declares the reasons and lists them by section, so that none can be forgotten in the reference.
macro_rules! catalogue {
    ($($section:literal { $($name:ident = $code:literal, $status:literal, $title:literal, $meaning:literal, $remedy:literal $(, $sub_code:literal)?;)+ })+) => {
        $($(
            #[doc = $meaning]
            pub static $name: Reason =
                Reason { code: $code, status: $status, title: $title, meaning: $meaning, remedy: $remedy, sub_code: sub_code!($($sub_code)?) };
        )+)+

        pub(super) static TABLE: &[super::Section] = &[$(($section, &[$(&$name),+])),+];
    };
}

pub(crate) use {catalogue, sub_code};

/// The reasons by section of the reference.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    [edge::TABLE, business::TABLE, shaping::TABLE, both::TABLE].into_iter().flatten()
}
