// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;

namespace Fleece.Disks.Tests.Lives;

/// <summary>The content that disks, snapshots and bitmaps must have after the steps of a life, whichever process did them.</summary>
/// <remarks>The last step may have been cut off by a kill: then each sector that it changes may be the old one or the new one.</remarks>
internal sealed class LifeTruth
{
    private readonly Dictionary<string, byte[]> _disks = [];
    private readonly Dictionary<string, byte[]> _before = [];
    private readonly Dictionary<(string Disk, string Session), byte[]> _snapshots = [];
    private readonly Dictionary<(string Disk, string Session), List<BlockRange>> _gone = [];
    private readonly Dictionary<(string Disk, string Session), string> _pins = [];
    private readonly Dictionary<(string Disk, string Bitmap), byte[]> _bases = [];

    /// <summary>Snapshots of sessions that were begun and not stopped.</summary>
    public IEnumerable<(string Disk, string Session)> Sessions => _snapshots.Keys;

    /// <summary>Takes a step that was done.</summary>
    public void Do(string step)
    {
        foreach ((string name, byte[] content) in _disks)
        {
            _before[name] = [.. content];
        }

        switch (step.Split(':'))
        {
            case ["mount", var file] when !_disks.ContainsKey(Path.GetFileNameWithoutExtension(file)):
                _disks[Path.GetFileNameWithoutExtension(file)] = new byte[LifeSteps.SizeBytes];
                break;
            case ["write", var disk, var seed]:
                (long offsetBytes, byte[] data) = LifeSteps.WriteOf(seed);
                data.CopyTo(_disks[disk], offsetBytes);
                break;
            case ["zero", var disk, var seed]:
                BlockRange zeroes = LifeSteps.RangeOf(seed);
                _disks[disk].AsSpan((int)zeroes.OffsetBytes, (int)zeroes.LengthBytes).Clear();
                break;
            case ["bitmap", var disk, var bitmap]:
                _bases[(disk, bitmap)] = [.. _disks[disk]];
                break;
            case ["consume", var disk, var session, var seed]:
                _gone[(disk, session)].Add(LifeSteps.RangeOf(seed));
                break;
            case ["start", var session, _, var bitmap, var next, var disks]:
                foreach (string disk in disks.Split(','))
                {
                    _snapshots[(disk, session)] = [.. _disks[disk]];
                    _gone[(disk, session)] = [];
                    _pins[(disk, session)] = bitmap != "-" ? bitmap : next;
                }

                break;
            case ["stop", var disk, var session, "success"]:
                _bases[(disk, _pins[(disk, session)])] = _snapshots[(disk, session)];
                _snapshots.Remove((disk, session));
                break;
            case ["stop", var disk, var session, _]:
                _snapshots.Remove((disk, session));
                break;
            default:
                break;
        }
    }

    /// <summary>Forgets a session whose start was cut off, or that was given up.</summary>
    public void Forget(string disk, string session) => _snapshots.Remove((disk, session));

    /// <summary>Asserts that the disk has every write that was answered.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="isCut">True when the last step may have happened in part.</param>
    public async Task AssertDiskAsync(Disk disk, bool isCut)
    {
        byte[] content = new byte[disk.SizeBytes];
        await disk.Device.ReadAsync(0, content);
        AssertSame($"the disk '{disk.Name}'", _disks[disk.Name], isCut ? _before[disk.Name] : _disks[disk.Name], content);
        if (isCut)
        {
            // From here on it is certain.
            content.CopyTo(_disks[disk.Name], 0);
        }
    }

    /// <summary>Asserts that a session shows its instant.</summary>
    public async Task AssertSnapshotAsync(Session session)
    {
        byte[] truth = _snapshots[(session.Disk.Name, session.Name)];
        byte[] content = new byte[session.SizeBytes];
        foreach (Fleece.Block.CopyBeforeWrite.SnapshotRun run in session.GetRuns().Where(run => run.IsReadable))
        {
            await session.Snapshot.ReadAsync(run.OffsetBytes, content.AsMemory((int)run.OffsetBytes, (int)run.LengthBytes));
            Range range = (int)run.OffsetBytes..(int)(run.OffsetBytes + run.LengthBytes);
            byte[] part = content[range];
            byte[] partTruth = truth[range];
            AssertSame($"'{session.Id}' from {run.OffsetBytes} on", partTruth, partTruth, part);
        }
    }

    /// <summary>Asserts that a bitmap is trusted and has each unit that differs from what it counts from.</summary>
    public void AssertBitmap(Disk disk, string name)
    {
        Bitmap bitmap = disk.Bitmaps.Find(name);
        Assert.Null(bitmap.Reason);
        byte[] truth = _disks[disk.Name];
        byte[] start = _bases[(disk.Name, name)];
        BlockRange[] dirty = [.. bitmap.GetDirtyRanges()];
        for (int at = 0; at < truth.Length; at += 512)
        {
            Assert.True(
                truth.AsSpan(at, 512).SequenceEqual(start.AsSpan(at, 512)) ||
                    Array.Exists(dirty, range => range.Contains(new BlockRange(at, 512))),
                $"the bitmap '{name}' misses the change at {at}");
        }
    }

    private static void AssertSame(string what, byte[] truth, byte[] other, byte[] content)
    {
        for (int at = 0; at < content.Length; at += 512)
        {
            ReadOnlySpan<byte> sector = content.AsSpan(at, 512);
            Assert.True(
                sector.SequenceEqual(truth.AsSpan(at, 512)) || sector.SequenceEqual(other.AsSpan(at, 512)),
                $"{what} is wrong at {at}");
        }
    }
}
