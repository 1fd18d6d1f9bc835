// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Block.Logs;

namespace Fleece.Benchmarks;

/// <summary>The cost of a session's notes for a guest's first write to each place: sessions with a log and without one, by turns.</summary>
/// <remarks>By turns in one process, because the difference is smaller than what a machine's speed changes from one run to the next. Each
/// round is a session with a new temp over the same disk; the medians of the rounds are compared, by the processor's time and by the
/// clock. FLEECE_BENCH_DIR says where the files are.</remarks>
internal static class NotesComparison
{
    /// <summary>The argument of the program that asks for this.</summary>
    public const string Verb = "notes";

    private const long DiskBytes = 128L << 20;
    private const int Warmups = 4;

    private enum Way
    {
        NoLog,
        MappedLog,
        WrittenLog,
    }

    /// <summary>Compares, with writes of 4 KiB and of 64 KiB.</summary>
    public static async Task RunAsync(int rounds)
    {
        await using BenchmarkFiles files = new();
        FileNode active = files.Create("active.raw", DiskBytes);
        foreach (int requestBytes in new[] { 4096, 65536 })
        {
            byte[] data = new byte[requestBytes];
            new Random(1).NextBytes(data);
            await WriteAllAsync(active, data);
            Dictionary<Way, List<(double CpuUs, double WallUs)>> costs =
                Enum.GetValues<Way>().ToDictionary(way => way, _ => new List<(double, double)>());
            for (int round = 0; round < rounds + Warmups; round++)
            {
                foreach (Way way in Enum.GetValues<Way>())
                {
                    (double, double) cost = await RunSessionAsync(files, active, data, way);
                    if (round >= Warmups)
                    {
                        costs[way].Add(cost);
                    }
                }
            }

            foreach (Way way in Enum.GetValues<Way>())
            {
                double cpu = Median(costs[way].Select(cost => cost.CpuUs)), wall = Median(costs[way].Select(cost => cost.WallUs));
                double ratio = Median(costs[way].Zip(costs[Way.NoLog], (with, without) => with.CpuUs / without.CpuUs));
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{requestBytes,6} B  {way,-10}  {cpu,8:f2} us of processor  {wall,8:f2} us by the clock  " +
                    $"{(ratio - 1) * 100,6:f2} % more processor"));
            }
        }
    }

    private static async Task<(double CpuUs, double WallUs)> RunSessionAsync(BenchmarkFiles files, FileNode active, byte[] data, Way way)
    {
        FileNode temp = files.Create("temp.raw", DiskBytes);
        string logPath = Path.Combine(Path.GetDirectoryName(temp.Path)!, "session.log");
        LogJournal? journal = way == Way.NoLog ? null : new LogJournal(logPath, mayMap: way == Way.MappedLog);
        PointInTime point = new(active, temp, tempReadsAsZero: true, journal: journal);
        GC.Collect();
        TimeSpan cpuBefore = Environment.CpuUsage.TotalTime;
        long start = Stopwatch.GetTimestamp();
        await WriteAllAsync(point.Filter, data);
        TimeSpan wall = Stopwatch.GetElapsedTime(start);
        TimeSpan cpu = Environment.CpuUsage.TotalTime - cpuBefore;
        journal?.Dispose();
        await files.RemoveAsync(temp);
        File.Delete(logPath);
        double writes = DiskBytes / (double)data.Length;
        return (cpu.TotalMicroseconds / writes, wall.TotalMicroseconds / writes);
    }

    private static async Task WriteAllAsync(IBlockNode node, byte[] data)
    {
        for (long offsetBytes = 0; offsetBytes < DiskBytes; offsetBytes += data.Length)
        {
            await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
        }
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    /// <summary>A log of the size and the records of a real one.</summary>
    private sealed class LogJournal : ISessionJournal, IDisposable
    {
        private const int SegmentBytes = 256 * 1024;
        private const int PayloadBytes = 16;

        private readonly MappedFile _file;
        private readonly RecordLog _log;

        public LogJournal(string path, bool mayMap)
        {
            _file = MappedFile.Create(path, SegmentBytes, mayMap);
            _file.Grow();
            _log = new RecordLog(_file, Guid.NewGuid(), 0, 4096);
            _log.Clear();
        }

        public BlockException? NoteDone(GranuleRun run, bool hasData)
        {
            Span<byte> payload = stackalloc byte[PayloadBytes];
            BinaryPrimitives.WriteInt64LittleEndian(payload, run.Start);
            BinaryPrimitives.WriteInt64LittleEndian(payload[sizeof(long)..], run.Count);
            while (!_log.TryAppend(hasData ? (ushort)1 : (ushort)2, payload, _file.LengthBytes))
            {
                _file.Grow();
            }

            return null;
        }

        public BlockException? NoteConsumed(GranuleRun run) => null;

        public BlockException? NoteConfirmed(int consumer, GranuleRun run) => null;

        public void NoteBroken(BlockException cause)
        {
        }

        public void Dispose() => _file.Dispose();
    }
}
