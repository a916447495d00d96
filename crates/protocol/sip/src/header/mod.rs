//! Header fields: their names, and the grammar of the values that are more than text.

mod address;
mod date;
mod list;
mod name;
mod params;
mod value;
mod via;

pub use address::NameAddr;
pub use date::{date, parse_date};
pub use list::Elements;
pub use name::HeaderName;
pub use params::{ParamIter, Params};
pub(crate) use value::check_call_id;
pub use value::{CSeq, Delta, MediaType, RAck, TokenParams};
pub use via::{BRANCH_COOKIE, SentBy, Via};
