// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A log or its maps with any byte changed is refused, or says the same as before.</summary>
public sealed class SessionDamageTests : IDisposable
{
    private readonly LogRig _rig = LogRig.InMemory();
    private readonly Seeds _seeds = Seeds.FromEnvironment();
    private readonly SessionDescription _description;
    private readonly string _logPath;
    private readonly string _mapsPath;
    private readonly string _truth;

    public SessionDamageTests()
    {
        _description = _rig.Describe("replica", "archive");
        PointInTimeMaps maps = new(_description.GranuleCount, 2, isLimited: true);
        maps.Denied!.Add(new GranuleRun(0, 40_000));
        maps.AddDone(new GranuleRun(50_001, 50_007), hasData: true);
        using (SessionLog log = SessionLog.Create(_rig.Sessions, _description, maps))
        {
            _logPath = log.Path;
            log.StoreInstant(DateTimeOffset.UtcNow);
            log.StoreState(StoredState.Running);
            for (int i = 0; i < 30; i++)
            {
                Assert.Null(SessionNote.Any(_seeds, _description.GranuleCount).Do(log, maps));
            }

            log.NoteBroken(new BlockException(BlockErrors.TempFull, "The temp image is full.", "/some/where", 4096, "copy"));
            log.Suspend(new SessionEvidence(new FileEvidence(1, 2, 3), new FileEvidence(4, 5, 6)));
        }

        _mapsPath = Assert.Single(SessionFolder.MapsOf(_logPath));
        _truth = _rig.Read(_description.Id);
    }

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void Any_byte_of_a_log() => CheckFlips(_logPath, UsedBytes());

    [Fact]
    public void Any_byte_of_the_maps() => CheckFlips(_mapsPath, Enumerable.Range(0, (int)new FileInfo(_mapsPath).Length));

    [Fact]
    public void Two_bits_of_the_words_that_are_stored_one_by_one()
    {
        byte[] bytes = File.ReadAllBytes(_logPath);
        for (int pair = 0; pair < 3000; pair++)
        {
            byte[] words = bytes[SessionLogLayout.StateAt..(SessionLogLayout.LostAt + 8)];
            for (int flip = 0; flip < 2; flip++)
            {
                words[_seeds.Next(words.Length)] ^= (byte)(1 << _seeds.Next(8));
            }

            Write(_logPath, SessionLogLayout.StateAt, words);
            CheckRefusedOrSame($"pair {pair}");
        }

        Write(_logPath, 0, bytes);
        Assert.Equal(_truth, _rig.Read(_description.Id));
    }

    [Fact]
    public void A_log_that_is_cut_at_any_byte()
    {
        byte[] bytes = File.ReadAllBytes(_logPath);
        HashSet<int> cuts = [.. UsedBytes(), .. Enumerable.Range(0, bytes.Length / 997).Select(i => i * 997)];
        foreach (int cut in cuts.OrderDescending())
        {
            Truncate(_logPath, cut);
            CheckRefusedOrSame($"cut at {cut}");
        }
    }

    [Fact]
    public void Maps_that_are_cut_at_any_byte()
    {
        for (int cut = (int)new FileInfo(_mapsPath).Length - 1; cut >= 0; cut--)
        {
            Truncate(_mapsPath, cut);
            Assert.Null(_rig.Sessions.Find(_description.Id)!.TakeOver(out string? fault));
            Assert.Contains(_mapsPath, fault, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Maps_that_are_missing()
    {
        File.Delete(_mapsPath);

        Assert.Null(_rig.Sessions.Find(_description.Id)!.TakeOver(out string? fault));
        Assert.Contains(_mapsPath, fault, StringComparison.Ordinal);
    }

    [Fact]
    public void A_log_of_a_newer_version_is_refused_by_name_and_left_as_it_is()
    {
        Write(_logPath, SessionLogLayout.VersionAt, [(byte)(SessionLogLayout.Version + 1)]);
        byte[] before = File.ReadAllBytes(_logPath);

        StoredSession stored = Assert.Single(SessionFolder.Open(_rig.Sessions.Path).List());
        stored.StoreLost("never");

        Assert.True(stored.IsNewer);
        Assert.Contains($"version {SessionLogLayout.Version + 1}", stored.Fault, StringComparison.Ordinal);
        Assert.Null(stored.TakeOver(out string? fault));
        Assert.Equal(stored.Fault, fault);
        Assert.Equal(before, File.ReadAllBytes(_logPath));
        Assert.True(File.Exists(_mapsPath));
    }

    [Fact]
    public void The_log_of_another_session_under_its_name()
    {
        using (SessionLog other = _rig.Create())
        {
            other.Dispose();
            File.Copy(other.Path, _logPath, overwrite: true);
        }

        Assert.Contains("another session", _rig.Sessions.Find(_description.Id)!.Fault, StringComparison.Ordinal);
    }

    [Fact]
    public void The_maps_of_another_session_under_its_name()
    {
        using (SessionLog other = _rig.Create(new PointInTimeMaps(_description.GranuleCount, 0, isLimited: true)))
        {
            File.Copy(Assert.Single(SessionFolder.MapsOf(other.Path)), _mapsPath, overwrite: true);
        }

        Assert.Null(_rig.Sessions.Find(_description.Id)!.TakeOver(out string? fault));
        Assert.Contains(_mapsPath, fault, StringComparison.Ordinal);
    }

    // The bytes that mean something, and a sample of the room between.
    private IEnumerable<int> UsedBytes()
    {
        int descriptionBytes = SessionDescriptionFormat.Encode(_description).Length;
        (int Start, int Count)[] parts =
        [
            (0, SessionLogLayout.HeadBytes),
            (SessionLogLayout.StateAt, SessionLogLayout.LostAt + 8 - SessionLogLayout.StateAt),
            (SessionLogLayout.SlotsAt, SessionLogLayout.SlotBytes),
            (SessionLogLayout.SlotsAt + SessionLogLayout.SlotStrideBytes, SessionLogLayout.SlotBytes),
            (SessionLogLayout.BrokenTextAt, 128),
            (SessionLogLayout.LostTextAt, 8),
            (SessionLogLayout.DescriptionAt, descriptionBytes),
            (SessionLogLayout.RecordsAt(descriptionBytes), 31 * 24),
        ];
        return parts.SelectMany(part => Enumerable.Range(part.Start, part.Count))
            .Concat(Enumerable.Range(0, 512).Select(_ => _seeds.Next(512 * 1024)));
    }

    private void CheckFlips(string path, IEnumerable<int> places)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int refused = 0;
        foreach (int place in places)
        {
            foreach (byte flip in (byte[])[(byte)(1 << _seeds.Next(8)), (byte)(1 + _seeds.Next(255))])
            {
                Write(path, place, [(byte)(bytes[place] ^ flip)]);
                refused += CheckRefusedOrSame($"byte {place} xor {flip}") ? 1 : 0;
            }

            Write(path, place, [bytes[place]]);
        }

        Assert.True(refused > 1000, $"{refused} were refused.");
        Assert.Equal(_truth, _rig.Read(_description.Id));
    }

    private bool CheckRefusedOrSame(string damage)
    {
        StoredSession stored = _rig.Sessions.Find(_description.Id)!;
        if (stored.TakeOver(out string? fault) is not var (log, maps))
        {
            Assert.False(string.IsNullOrEmpty(fault), damage);
            return true;
        }

        using (log)
        {
            if (LogRig.Facts(stored, maps) != _truth)
            {
                Assert.Fail($"With {damage} another state was read.");
            }
        }

        return false;
    }

    private static void Write(string path, long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Write);
        RandomAccess.Write(file, bytes, offsetBytes);
    }

    private static void Truncate(string path, long lengthBytes)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Write);
        RandomAccess.SetLength(file, lengthBytes);
    }
}
