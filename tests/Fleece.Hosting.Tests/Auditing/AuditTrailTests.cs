// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Tests.Host;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Auditing;

public sealed class AuditTrailTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly ConcurrentQueue<string> _said = new();
    private volatile bool _isHeld;

    private string TrailPath => _folder.File(AuditTrail.FileName);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task An_entry_is_a_line_of_json_for_its_user_alone()
    {
        await using (AuditTrail trail = New())
        {
            trail.Add(Entry("stop session nightly") with { ErrorKind = BlockErrors.InUse, Error = "It is\nin use.", Outcome = AuditOutcome.Refused });
            trail.Add(Entry("dismount web"));
        }

        string[] lines = File.ReadAllLines(TrailPath);
        Assert.Equal(2, lines.Length);
        using JsonDocument first = JsonDocument.Parse(lines[0]);
        Assert.Equal("refused", first.RootElement.GetProperty("outcome").GetString());
        Assert.Equal("alice", first.RootElement.GetProperty("user").GetString());
        Assert.Equal("web/nightly", first.RootElement.GetProperty("targets")[0].GetString());
        Assert.Equal("It is\nin use.", first.RootElement.GetProperty("error").GetString());
        Assert.False(JsonDocument.Parse(lines[1]).RootElement.TryGetProperty("error", out _));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(TrailPath));
        }

        Assert.Empty(_said);
    }

    [Fact]
    public async Task A_trail_takes_the_place_of_a_line_that_a_killed_process_has_left_half_written()
    {
        File.WriteAllText(TrailPath, "{\"text\":\"whole\"}\n{\"time\":\"20");
        await AddAndEndAsync(Entry("mount web.raw"));

        Assert.Equal(["whole", "mount web.raw"], Texts(TrailPath));
    }

    [Fact]
    public async Task A_trail_takes_the_place_of_the_rest_of_a_line_that_a_shorter_one_has_overwritten()
    {
        File.WriteAllText(TrailPath, "{\"text\":\"whole\"}\nfor people\",\"error\":\"none\"}\n");
        await AddAndEndAsync(Entry("mount web.raw"));

        Assert.Equal(["whole", "mount web.raw"], Texts(TrailPath));
    }

    [Fact]
    public async Task A_trail_takes_the_place_of_a_long_end_of_zeros_that_a_power_loss_has_left()
    {
        File.WriteAllText(TrailPath, "{\"text\":\"whole\"}\n" + new string('\0', 200_000));
        await AddAndEndAsync(Entry("mount web.raw"));

        Assert.Equal(["whole", "mount web.raw"], Texts(TrailPath));
    }

    [Fact]
    public async Task An_entry_that_a_full_file_system_takes_in_part_is_cut_off_and_no_other_has_its_rest()
    {
        using MountedFolder small = new("tmpfs", "size=64k");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? string.Empty);
        string path = Path.Combine(small.Path, AuditTrail.FileName);
        await using AuditTrail trail = new(small.Path, _said.Enqueue);
        trail.Add(Entry("first"));
        await HostRig.UntilAsync(() => Texts(path).Count == 1);
        long wholeBytes = new FileInfo(path).Length;
        await using (FileStream filling = File.Create(Path.Combine(small.Path, "filling")))
        {
            Assert.Throws<IOException>(() => filling.Write(new byte[128 * 1024]));
        }

        trail.Add(Entry(new string('x', 5000)));
        await HostRig.UntilAsync(() => trail.MissingCount == 1);
        Assert.Equal(wholeBytes, new FileInfo(path).Length);
        File.Delete(Path.Combine(small.Path, "filling"));
        trail.Add(Entry("last"));
        await trail.DisposeAsync();

        Assert.Equal(["first", "entries that could not be written here: 1", "last"], Texts(path));
    }

    [Fact]
    public async Task A_trail_goes_on_at_the_end_of_a_file_that_another_program_has_cut()
    {
        await using AuditTrail trail = New();
        trail.Add(Entry("before"));
        await HostRig.UntilAsync(() => Texts(TrailPath).Count == 1);
        File.WriteAllText(TrailPath, string.Empty);

        trail.Add(Entry("after"));
        await trail.DisposeAsync();

        Assert.Equal(["after"], Texts(TrailPath));
    }

    [Fact]
    public async Task A_trail_whose_file_was_deleted_goes_on_in_a_new_one()
    {
        await using AuditTrail trail = New();
        trail.Add(Entry("before"));
        await HostRig.UntilAsync(() => Texts(TrailPath).Count == 1);
        File.Delete(TrailPath);

        trail.Add(Entry("after"));
        await trail.DisposeAsync();

        Assert.Equal(["after"], Texts(TrailPath));
    }

    [Fact]
    public async Task A_trail_whose_file_was_renamed_goes_on_in_a_new_one()
    {
        string renamed = _folder.File("audit.jsonl-20261201");
        await using AuditTrail trail = New();
        trail.Add(Entry("before"));
        await HostRig.UntilAsync(() => Texts(TrailPath).Count == 1);
        File.Move(TrailPath, renamed);

        trail.Add(Entry("after"));
        await trail.DisposeAsync();

        Assert.Equal(["before"], Texts(renamed));
        Assert.Equal(["after"], Texts(TrailPath));
    }

    [Fact]
    public async Task A_trail_that_is_held_up_holds_up_no_one_and_counts_what_it_lacks()
    {
        _isHeld = true;
        Directory.CreateDirectory(TrailPath);
        await using AuditTrail trail = New(SayAndHold, maximumWaitingEntries: 2);
        trail.Add(Entry("that fails"));
        await HostRig.UntilAsync(() => _said.Count == 1);
        foreach (string text in new[] { "b", "c", "left out", "left out too" })
        {
            trail.Add(Entry(text));
        }

        Assert.Contains("left out", _said.Last(), StringComparison.Ordinal);
        Directory.Delete(TrailPath);
        _isHeld = false;
        await trail.DisposeAsync();

        Assert.Equal(
            ["entries that could not be written here: 1", "b", "c", "entries that could not be written here: 2"], Texts(TrailPath));
        Assert.Contains("written again", _said.Last(), StringComparison.Ordinal);
        Assert.EndsWith(": 2", _said.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_end_waits_no_longer_than_it_may_for_a_trail_that_is_held_up_and_says_what_it_lacks()
    {
        _isHeld = true;
        Directory.CreateDirectory(TrailPath);
        await using AuditTrail trail = new(_folder.Path, SayAndHold) { EndTime = TimeSpan.Zero };
        trail.Add(Entry("that fails"));
        await HostRig.UntilAsync(() => _said.Count == 1);
        trail.Add(Entry("b"));
        trail.Add(Entry("c"));

        await trail.DisposeAsync();

        Assert.EndsWith("could not be written to its end; entries that it lacks: 3", _said.Last(), StringComparison.Ordinal);
        _isHeld = false;
    }

    [Fact]
    public async Task A_long_file_gets_a_number_and_the_oldest_goes()
    {
        await using (AuditTrail trail = New(maximumFileBytes: 1))
        {
            for (int i = 0; i < AuditTrail.KeptFiles + 3; i++)
            {
                trail.Add(Entry($"entry {i}"));
            }
        }

        Assert.Equal(AuditTrail.KeptFiles + 1, Directory.GetFiles(_folder.Path).Length);
        Assert.Contains($"entry {AuditTrail.KeptFiles + 2}", File.ReadAllText(TrailPath), StringComparison.Ordinal);
        Assert.Contains($"entry {AuditTrail.KeptFiles + 1}", File.ReadAllText(_folder.File("audit.1.jsonl")), StringComparison.Ordinal);
        Assert.Contains("entry 2\"", File.ReadAllText(_folder.File($"audit.{AuditTrail.KeptFiles}.jsonl")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trail_that_cannot_be_written_is_said_once_and_again_with_what_it_lacks_when_it_can()
    {
        Directory.CreateDirectory(TrailPath);
        await using AuditTrail trail = New();
        trail.Add(Entry("a"));
        trail.Add(Entry("b"));
        await HostRig.UntilAsync(() => trail.MissingCount == 2);
        Assert.Contains("can't be written", Assert.Single(_said), StringComparison.Ordinal);
        Directory.Delete(TrailPath);

        trail.Add(Entry("c"));
        await trail.DisposeAsync();

        Assert.Equal(2, _said.Count);
        Assert.EndsWith(": 2", _said.Last(), StringComparison.Ordinal);
        Assert.Equal(["entries that could not be written here: 2", "c"], Texts(TrailPath));
    }

    [Fact]
    public async Task The_journal_gets_each_entry_with_fields_of_its_own()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The journal is systemd's.");
        string path = _folder.File("journal");
        using Socket journal = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        journal.Bind(new UnixDomainSocketEndPoint(path));
        await using AuditTrail trail = new(_folder.Path, _said.Enqueue, new AuditJournal(path));

        trail.Add(Entry("stop session nightly") with { Error = "one\nFLEECE_USER=root" });

        byte[] datagram = new byte[4096];
        string[] fields = Encoding.UTF8.GetString(datagram, 0, journal.Receive(datagram)).Split('\n');
        Assert.Contains("FLEECE_ACTION=session.stop", fields);
        Assert.Contains("FLEECE_TARGET=web/nightly", fields);
        Assert.Equal(["FLEECE_USER=alice"], fields.Where(field => field.StartsWith("FLEECE_USER=", StringComparison.Ordinal)));
    }

    private AuditTrail New(long maximumFileBytes = AuditTrail.MaximumFileBytes) =>
        new(_folder.Path, _said.Enqueue, maximumFileBytes: maximumFileBytes);

    private AuditTrail New(Action<string> say, int maximumWaitingEntries) =>
        new(_folder.Path, say, maximumWaitingEntries: maximumWaitingEntries);

    // The thread that writes the trail tells of its first failure, and is held there as by storage that does not answer.
    private void SayAndHold(string line)
    {
        _said.Enqueue(line);
        SpinWait.SpinUntil(() => !_isHeld || !line.Contains("can't be written", StringComparison.Ordinal));
    }

    private async Task AddAndEndAsync(AuditEntry entry)
    {
        await using AuditTrail trail = New();
        trail.Add(entry);
    }

    private static List<string?> Texts(string path)
    {
        if (!File.Exists(path))
        {
            return [];
        }

        using StreamReader reader =
            new(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        return [.. reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => JsonDocument.Parse(line).RootElement.GetProperty("text").GetString())];
    }

    private static AuditEntry Entry(string text) => new()
    {
        Time = DateTimeOffset.UtcNow,
        Action = "session.stop",
        Outcome = AuditOutcome.Done,
        User = "alice",
        UserId = 1000,
        ProcessId = 42,
        Targets = ["web/nightly"],
        Text = text,
    };
}
