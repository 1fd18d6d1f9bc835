// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Backups.Reading;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Disks.Records;

namespace Fleece.Benchmarks;

/// <summary>The copies that a reader saves its guest, by the order in which it reads: counts, which do not depend on the machine's speed.
/// </summary>
/// <remarks>A reader consumes a disk of 256 MiB chunk by chunk, and after each the guest makes so many writes of 4 KiB: in a hot region of
/// 32 MiB at three quarters of the disk, in a stream that begins in its middle, or anywhere.</remarks>
internal static class OrderComparison
{
    /// <summary>The argument of the program that asks for this.</summary>
    public const string Verb = "order";

    private const int DiskBytes = 256 << 20;
    private const int WriteBytes = 4096;
    private const int Rounds = 3;

    private enum Guest
    {
        HotSpot,
        Stream,
        Random,
    }

    /// <summary>Compares.</summary>
    public static async Task RunAsync()
    {
        await using BenchmarkFiles files = new();
        FileNode file = files.Create("vm.raw", DiskBytes);
        string path = file.Path;
        await files.CloseAsync(file);
        byte[] content = new byte[DiskBytes];
        new Random(1).NextBytes(content);
        await File.WriteAllBytesAsync(path, content);
        foreach (Guest guest in Enum.GetValues<Guest>())
        {
            foreach (int writes in new[] { 8, 32, 128 })
            {
                foreach (SnapshotReadOrder order in Enum.GetValues<SnapshotReadOrder>())
                {
                    List<(long Copied, long Avoided)> rounds = [];
                    for (int round = 0; round < Rounds; round++)
                    {
                        rounds.Add(await RunAsync(path, guest, writes, order, round));
                    }

                    (long copied, long avoided) = rounds.OrderBy(result => result.Copied).ElementAt(Rounds / 2);
                    Console.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{guest,-8} {writes,4} writes a MiB  {order,-11}  copied {copied >> 10,7} KiB  avoided {avoided >> 10,7} KiB  " +
                        $"{100.0 * avoided / (copied + avoided),5:F1} %"));
                }
            }
        }
    }

    private static async Task<(long Copied, long Avoided)> RunAsync(
        string path, Guest guest, int writes, SnapshotReadOrder order, int seed)
    {
        await using Disk disk = await Disk.OpenAsync(path, "vm");
        Session session = (await Session.StartAsync([disk], new SessionOptions()))[0];
        Random random = new(seed);
        byte[] data = new byte[WriteBytes];
        random.NextBytes(data);
        long streamBytes = DiskBytes / 2;

        // Before the reader comes, as in life.
        await WriteAsync();
        await using (SnapshotRead read = new(session, new SnapshotReadOptions { DiscardConsumed = true, Order = order }))
        {
            while (await read.NextAsync() is { } chunk)
            {
                chunk.Dispose();
                await WriteAsync();
            }
        }

        SessionInfo info = session.Describe();
        return (info.CopiedBytes, info.AvoidedBytes);

        async Task WriteAsync()
        {
            for (int i = 0; i < writes; i++)
            {
                long offsetBytes = guest switch
                {
                    Guest.HotSpot => (DiskBytes / 4 * 3) + random.Next((32 << 20) / WriteBytes) * (long)WriteBytes,
                    Guest.Stream => streamBytes,
                    _ => random.Next(DiskBytes / WriteBytes) * (long)WriteBytes,
                };
                streamBytes = (streamBytes + WriteBytes) % DiskBytes;
                await disk.Device.WriteAsync(offsetBytes, data);
            }
        }
    }
}
