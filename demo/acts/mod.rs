//! The steps of the demo. Each shows something and checks that it is so.

pub(crate) mod analyse;
pub(crate) mod identities;
pub(crate) mod ingest;
pub(crate) mod proof;
pub(crate) mod rotate;
pub(crate) mod set_up;
pub(crate) mod unmask;
