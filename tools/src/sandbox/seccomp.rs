//! The system calls that a build or a test has no need of.
//!
//! A deny list: what the kernel has grown for administrators, debuggers and io engines is refused with EPERM; the rest
//! passes. Three programs, because one filter has one answer: EPERM for most, ENOSYS for `clone3` (its flags lie behind
//! a pointer that a filter can't follow; on ENOSYS libc falls back to `clone`, whose flags it can see), and ENOSYS for
//! the x32 call numbers, which would otherwise slip past a list of x86-64 numbers. `ptrace` is refused too: nothing in
//! a sandbox needs a debugger, and it would let a command take over the sandbox's own pid 1.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Cond, SeccompFilter,
    SeccompRule, TargetArch,
};

type Built<T> = Result<T, seccompiler::BackendError>;

/// The filter programs, each as the array of `sock_filter` that bubblewrap reads.
pub(crate) fn programs() -> Result<Vec<Vec<u8>>, String> {
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|_| format!("no filter for {}", std::env::consts::ARCH))?;
    let refuse = |error: seccompiler::BackendError| error.to_string();
    let mut all = vec![
        encode(&filter(denied().map_err(refuse)?, libc::EPERM, arch).map_err(refuse)?),
        encode(&filter(BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS, arch).map_err(refuse)?),
    ];
    if arch == TargetArch::x86_64 {
        all.push(x32_refused());
    }
    Ok(all)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32, arch: TargetArch) -> Built<BpfProgram> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()
}

fn encode(program: &BpfProgram) -> Vec<u8> {
    program.iter().flat_map(|i| instruction(i.code, i.jt, i.jf, i.k)).collect()
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> [u8; 8] {
    let (c, k) = (code.to_ne_bytes(), k.to_ne_bytes());
    [c[0], c[1], jt, jf, k[0], k[1], k[2], k[3]]
}

/// `if nr >= 0x4000_0000 { ENOSYS } else { allow }`
fn x32_refused() -> Vec<u8> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_GE: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let enosys = 0x0005_0000 | libc::ENOSYS.unsigned_abs();
    [
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_GE, 0, 1, 0x4000_0000),
        instruction(RETURN, 0, 0, enosys),
        instruction(RETURN, 0, 0, 0x7fff_0000),
    ]
    .concat()
}

/// Refused whatever their arguments.
const ALWAYS: &[i64] = &[
    // mounts and roots
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // kernel interfaces with a history of holes
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    libc::SYS_vhangup,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_lookup_dcookie,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // the machine itself
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_nfsservctl,
];

#[cfg(target_arch = "x86_64")]
const ALWAYS_HERE: &[i64] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_vserver,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_HERE: &[i64] = &[];

fn denied() -> Built<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALWAYS.iter().chain(ALWAYS_HERE).map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_clone, new_namespaces()?);
    rules.insert(libc::SYS_ioctl, vec![arg_is(1, libc::TIOCSTI)?, arg_is(1, libc::TIOCLINUX)?]);
    rules.insert(libc::SYS_socket, sockets()?);
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![arg(0, Op::Ne, family(libc::AF_UNIX))?])?]);
    rules.insert(libc::SYS_mknodat, devices(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_mknod, devices(1)?);
    Ok(rules)
}

fn arg(index: u8, op: Op, value: u64) -> Built<Cond> {
    Cond::new(index, Len::Dword, op, value)
}

fn arg_is(index: u8, value: u64) -> Built<SeccompRule> {
    SeccompRule::new(vec![arg(index, Op::Eq, value)?])
}

fn new_namespaces() -> Built<Vec<SeccompRule>> {
    const CLONE_NEWTIME: i32 = 0x80;
    let flags = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    // For clone the low byte is the exit signal, so CLONE_NEWTIME can't be asked for there; unshare is refused anyway.
    debug_assert!(flags.iter().all(|flag| flag & CLONE_NEWTIME == 0));
    flags
        .iter()
        .map(|flag| {
            let bit = u64::from(flag.cast_unsigned());
            SeccompRule::new(vec![Cond::new(0, Len::Qword, Op::MaskedEq(bit), bit)?])
        })
        .collect()
}

fn family(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

/// Only local, IP and routing sockets (libc asks the last for addresses), and no raw IP.
fn sockets() -> Built<Vec<SeccompRule>> {
    let known = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let other = known.iter().map(|known| arg(0, Op::Ne, family(*known))).collect::<Built<Vec<_>>>()?;
    let mut rules = vec![SeccompRule::new(other)?];
    rules.push(SeccompRule::new(vec![
        arg(0, Op::Eq, family(libc::AF_NETLINK))?,
        arg(2, Op::Ne, family(libc::NETLINK_ROUTE))?,
    ])?);
    for inet in [libc::AF_INET, libc::AF_INET6] {
        let kind = Op::MaskedEq(0xf);
        rules.push(SeccompRule::new(vec![arg(0, Op::Eq, family(inet))?, arg(1, kind, family(libc::SOCK_RAW))?])?);
    }
    Ok(rules)
}

/// Character and block devices; FIFOs and sockets may be made.
fn devices(mode: u8) -> Built<Vec<SeccompRule>> {
    [libc::S_IFCHR, libc::S_IFBLK]
        .into_iter()
        .map(|kind| SeccompRule::new(vec![arg(mode, Op::MaskedEq(u64::from(libc::S_IFMT)), u64::from(kind))?]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_program_is_whole_instructions_and_ends_by_returning() {
        let programs = programs().unwrap();
        assert!(programs.len() >= 2);
        for program in programs {
            assert_eq!(program.len() % 8, 0);
            assert!(program.len() / 8 <= 4096, "the kernel takes no longer program");
            let last = &program[program.len() - 8..];
            assert_eq!(u16::from_ne_bytes([last[0], last[1]]) & 0x07, 0x06, "the last instruction returns");
        }
    }
}
