//! System calls, one thin safe function each: names in, a value or the error number with its path out. The only
//! unsafe code of the workspace is here.

pub mod block_device;
pub mod console;
pub mod device_mapper;
pub mod file_system;
pub mod loop_device;
pub mod mount;
pub mod namespace;
pub mod node;
pub mod power;
pub mod swap;
pub mod uevent;
pub mod xattr;
