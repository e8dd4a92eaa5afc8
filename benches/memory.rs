//! Reading and writing a tracee's memory: `trapline`, `process_vm_readv` and `writev` by hand, and
//! the PEEK and POKE requests, a word at a time (Linux); `PT_IO` by hand (FreeBSD).

use criterion::{Criterion, Throughput};
use trapline::{EventFlags, Resume};

use trapline_benches::bare::memory as bare;
use trapline_benches::tracee::{CODE, command_with};
use trapline_benches::{traced, tracee};

const SIZES: [(&str, usize); 3] = [("8B", 8), ("4KiB", 4 << 10), ("1MiB", 1 << 20)];

fn memory(c: &mut Criterion) {
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let stop = traced::spawn(&mut tracer, command_with("memory", 1 << 20));
    tracer.resume(stop, Resume::Continue).expect("resume");
    let stop = traced::next_stop(&mut tracer);
    let pid = stop.pid().as_raw();
    for (size, len) in SIZES {
        let mut buf = vec![0; len];
        let mut group = c.benchmark_group(format!("read_{size}"));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("trapline", |b| {
            b.iter(|| tracer.read_memory(&stop, CODE, &mut buf).expect("it is mapped"));
        });
        assert!(buf.iter().all(|&byte| byte == 0x5a));
        for (who, read) in bare::READ {
            group.bench_function(*who, |b| b.iter(|| read(pid, CODE, &mut buf)));
        }
        group.finish();
        let mut group = c.benchmark_group(format!("write_{size}"));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("trapline", |b| {
            b.iter(|| tracer.write_memory(&stop, CODE, &buf).expect("it is mapped"));
        });
        for (who, write) in bare::WRITE {
            group.bench_function(*who, |b| b.iter(|| write(pid, CODE, &buf)));
        }
        group.finish();
    }
}

fn main() {
    tracee::run_if_asked();
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    memory(&mut criterion);
    criterion.final_summary();
}
