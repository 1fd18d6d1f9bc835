// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.Files;
using Fleece.Block.Logs;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Logs;

/// <summary>Files that are written by stores to memory: full file systems, killed processes, and file systems that are written with
/// pwrite instead.</summary>
public sealed class MappedFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_number_in_the_last_bytes_of_the_file_is_read()
    {
        using MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes);
        file.StoreNumber(file.LengthBytes - sizeof(ulong), 7);

        Assert.True(file.TryReadNumber(file.LengthBytes - sizeof(ulong), out ulong number));
        Assert.Equal(7UL, number);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Stores_over_borders_of_segments_come_back_from_the_file(bool mayMap)
    {
        byte[] expected = new byte[3 * LogChild.SegmentBytes];
        string path = _folder.NewFile();
        Seeds seeds = Seeds.FromEnvironment();
        using (MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes, mayMap))
        {
            file.Grow();
            file.Grow();
            for (int i = 0; i < 300; i++)
            {
                byte[] bytes = seeds.Bytes(seeds.Pick(1, 8, 100, 4096, LogChild.SegmentBytes + 3));
                int at = seeds.Next(expected.Length - bytes.Length + 1);
                file.Write(at, bytes);
                bytes.CopyTo(expected.AsSpan(at));
                byte[] read = new byte[bytes.Length];
                file.Read(at, read);
                Assert.Equal(bytes, read);
            }
        }

        Assert.Equal(expected, File.ReadAllBytes(path));
    }

    [Fact]
    public void A_file_that_is_opened_again_has_its_bytes_and_grows_on()
    {
        string path = _folder.NewFile();
        using (MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes))
        {
            file.Grow();
            file.StoreNumber(LogChild.SegmentBytes, 7);
            file.Flush();
        }

        using MappedFile again = MappedFile.Open(path, LogChild.SegmentBytes);
        again.Grow();

        Assert.True(again.TryReadNumber(LogChild.SegmentBytes, out ulong number));
        Assert.Equal((7ul, 3L * LogChild.SegmentBytes), (number, again.LengthBytes));
        Assert.False(again.TryReadNumber(2 * LogChild.SegmentBytes, out _));
        Assert.False(again.TryReadNumber(again.LengthBytes, out _));
    }

    // A thread that waits in managed code would keep the collection waiting, and with it all threads that allocate.
    [Fact]
    public void A_store_that_waits_for_its_storage_keeps_no_garbage_collection_waiting()
    {
        using StorageThatFills storage = new();
        Assert.SkipWhen(storage.SkipReason is not null, storage.SkipReason ?? "-");
        using MappedFile file = MappedFile.Create(Path.Combine(storage.Path, "log"), LogChild.SegmentBytes);
        Assert.True(file.IsMapped);
        file.StoreNumber(0, 1);
        storage.Freeze();
        Thread store = new(() => file.StoreNumber(0, 2));
        try
        {
            store.Start();
            SpinWait.SpinUntil(() => IsWaitingForStorage() || !store.IsAlive);
            Assert.True(store.IsAlive);

            GC.Collect();

            Assert.True(store.IsAlive);
        }
        finally
        {
            storage.Thaw();
            store.Join();
        }

        Assert.True(file.TryReadNumber(0, out ulong number));
        Assert.Equal(2UL, number);
    }

    // proc(5): the state behind the name is D while a thread waits for a device.
    private static bool IsWaitingForStorage() => Directory.GetDirectories("/proc/self/task").Any(task =>
    {
        string status = File.ReadAllText(Path.Combine(task, "stat"));
        return status[status.LastIndexOf(')') + 2] == 'D';
    });

    // A process may be killed, and a file system full, while a segment is allocated.
    [Fact]
    public void A_segment_that_was_not_allocated_whole_is_left_out()
    {
        string path = _folder.NewFile();
        MappedFile.Create(path, LogChild.SegmentBytes).Dispose();
        using (FileStream file = new(path, FileMode.Open))
        {
            file.SetLength(2 * LogChild.SegmentBytes - 1);
        }

        using MappedFile opened = MappedFile.Open(path, LogChild.SegmentBytes);

        Assert.Equal(LogChild.SegmentBytes, opened.LengthBytes);
    }

    [Fact]
    public void All_of_a_mapped_segment_has_storage_before_it_is_stored_to()
    {
        using MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes);
        Assert.SkipUnless(file.IsMapped, "The folder for temporary files lies on a file system that is not mapped.");
        file.Grow();

        Assert.InRange(AllocatedBytes(file.Path), 2 * LogChild.SegmentBytes, 3 * LogChild.SegmentBytes);
    }

    // A copy of a file can have holes where the file had zeros.
    [Fact]
    public void Holes_are_allocated_when_a_file_is_opened()
    {
        string path = _folder.NewFile();
        using (FileStream holes = File.Create(path))
        {
            holes.SetLength(2 * LogChild.SegmentBytes);
        }

        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes);
        Assert.SkipUnless(file.IsMapped, "The folder for temporary files lies on a file system that is not mapped.");

        Assert.InRange(AllocatedBytes(path), 2 * LogChild.SegmentBytes, 3 * LogChild.SegmentBytes);
    }

    [Fact]
    public void The_owner_alone_may_read_it()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Skip("Windows has other permissions.");
            return;
        }

        using MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes);

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file.Path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_store_behind_the_end_is_an_error_and_none_is_made_after_the_file_was_closed(bool mayMap)
    {
        MappedFile file = MappedFile.Create(_folder.NewFile(), LogChild.SegmentBytes, mayMap);
        if (mayMap && file.IsMapped)
        {
            Assert.ThrowsAny<Exception>(() => file.Write(LogChild.SegmentBytes - 1, new byte[2]));
        }

        file.Dispose();

        Assert.ThrowsAny<Exception>(() => file.Write(0, new byte[1]));
        Assert.ThrowsAny<Exception>(() => file.StoreNumber(0, 1));
    }

    // A store to a hole of a mapped file would kill the child here.
    [Fact]
    public async Task On_a_full_file_system_growing_fails_and_every_store_has_its_room()
    {
        using MountedFolder small = new("tmpfs", "size=1m");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? string.Empty);

        Assert.Equal("16 NoSpace True", await GrowAsync(small.NewFile()));
    }

    [Fact]
    public async Task On_a_full_ext4_growing_fails_and_every_store_has_its_room()
    {
        using LoopFolder small = new("mkfs.ext4", "-q", "-F", "-J", "size=1", "-m", "0");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? string.Empty);

        string[] grown = (await GrowAsync(small.NewFile())).Split(' ');

        Assert.InRange(int.Parse(grown[0], CultureInfo.InvariantCulture), 2, LoopFolder.SizeBytes / LogChild.SegmentBytes);
        Assert.Equal([BlockErrors.NoSpace, "True"], grown[1..]);
    }

    // It has the number of ext4 and no fallocate.
    [Fact]
    public async Task On_a_full_ext2_growing_fails_and_stores_are_written()
    {
        using LoopFolder small = new("mkfs.ext2", "-q", "-F", "-m", "0");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? string.Empty);

        string[] grown = (await GrowAsync(small.NewFile())).Split(' ');

        Assert.InRange(int.Parse(grown[0], CultureInfo.InvariantCulture), 2, LoopFolder.SizeBytes / LogChild.SegmentBytes);
        Assert.Equal([BlockErrors.NoSpace, "False"], grown[1..]);
    }

    [Fact]
    public void A_file_system_that_is_not_known_is_written_with_pwrite()
    {
        using MountedFolder other = new("ramfs");
        Assert.SkipWhen(other.SkipReason is not null, other.SkipReason ?? string.Empty);
        string path = other.NewFile();
        using MappedFile file = MappedFile.Create(path, LogChild.SegmentBytes);
        Assert.False(file.IsMapped);

        file.StoreNumber(16, 5);

        Assert.True(file.TryReadNumber(16, out ulong number));
        Assert.Equal(5ul, number);
        Assert.Equal(LogChild.SegmentBytes, new FileInfo(path).Length);
    }

    // Everything that the child said it had noted is there, at most one record more, and nothing is damaged.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_killed_process_leaves_all_that_it_noted(bool mayMap)
    {
        string path = _folder.NewFile();
        using Process child = LogChild.Start(null, LogChild.CountVerb, path, mayMap.ToString());
        string? last = null;
        for (int i = 0; i < 5000; i++)
        {
            last = await child.StandardOutput.ReadLineAsync() ?? last;
        }

        child.Kill();
        await child.WaitForExitAsync();
        string rest = await child.StandardOutput.ReadToEndAsync();
        string? end = rest.LastIndexOf('\n') is var at and > 0 ? rest[..at].Split('\n')[^1] : last;

        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes, mayMap);
        Assert.Null(RecordLogTests.ReadAll(LogChild.LogOf(file), file, out uint count));
        Assert.InRange(count, uint.Parse(end!, CultureInfo.InvariantCulture) + 1, uint.MaxValue);
    }

    [Theory]
    [InlineData(true, 1)]
    [InlineData(true, 700)]
    [InlineData(false, 700)]
    public async Task A_record_that_was_written_and_not_counted_does_not_count(bool mayMap, int killAt)
    {
        string path = _folder.NewFile();
        using Process child = LogChild.Start($"record-written:{killAt}", LogChild.CountVerb, path, mayMap.ToString());
        await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();

        using MappedFile file = MappedFile.Open(path, LogChild.SegmentBytes, mayMap);
        Assert.Null(RecordLogTests.ReadAll(LogChild.LogOf(file), file, out uint count));
        Assert.Equal((uint)killAt - 1, count);
    }

    [Theory]
    [InlineData(null, "0\n1\n2\n", 0)]
    [InlineData("step", "", 137)]
    [InlineData("step:3", "0\n1\n", 137)]
    [InlineData("step:4", "0\n1\n2\n", 0)]
    [InlineData("unknown", "0\n1\n2\n", 0)]
    public async Task A_fail_point_kills_the_process_at_the_step_that_is_named(string? killAt, string said, int exitCode)
    {
        using Process child = LogChild.Start(killAt, LogChild.StepVerb);

        Assert.Equal(said, await child.StandardOutput.ReadToEndAsync());
        await child.WaitForExitAsync();
        Assert.Equal(exitCode, child.ExitCode);
    }

    private static long AllocatedBytes(string path)
    {
        Assert.True(FileSystemSpace.TryGetAllocatedBytes(path, out long allocatedBytes));
        return allocatedBytes;
    }

    private static async Task<string> GrowAsync(string path)
    {
        using Process child = LogChild.Start(null, LogChild.GrowVerb, path);
        string said = await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();
        Assert.Equal(0, child.ExitCode);
        return said.Trim();
    }
}
