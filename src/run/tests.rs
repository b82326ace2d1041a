//! What the machine promises: one by one (`machine`, `rendering`), under every kill (`resume`) and under random trouble
//! (`random`), the last two in a `world` of virtual time whose tools log every effect.

mod build;
mod machine;
mod random;
mod rendering;
mod resume;
mod world;
