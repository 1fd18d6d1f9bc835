// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting.Auditing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Auditing;

public sealed class AuditTrailTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly List<string> _said = [];

    private string TrailPath => _folder.File(AuditTrail.FileName);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void An_entry_is_a_line_of_json_for_its_user_alone()
    {
        using (AuditTrail trail = New())
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
    public void A_trail_goes_on_behind_a_line_that_a_killed_process_has_left_half_written()
    {
        File.WriteAllText(TrailPath, "{\"time\":\"20");
        using (AuditTrail trail = New())
        {
            trail.Add(Entry("mount web.raw"));
        }

        string[] lines = File.ReadAllLines(TrailPath);
        Assert.Equal(2, lines.Length);
        Assert.Equal("mount web.raw", JsonDocument.Parse(lines[1]).RootElement.GetProperty("text").GetString());
    }

    [Fact]
    public void A_long_file_gets_a_number_and_the_oldest_goes()
    {
        using (AuditTrail trail = New(maximumFileBytes: 1))
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
    public void A_trail_that_cannot_be_written_is_said_once_and_again_when_it_can()
    {
        Directory.CreateDirectory(TrailPath);
        using AuditTrail trail = New();
        trail.Add(Entry("a"));
        trail.Add(Entry("b"));
        Assert.Contains("can't be written", Assert.Single(_said), StringComparison.Ordinal);
        Directory.Delete(TrailPath);

        trail.Add(Entry("c"));

        Assert.Equal(2, _said.Count);
        Assert.Contains("\"c\"", Assert.Single(File.ReadAllLines(TrailPath)), StringComparison.Ordinal);
    }

    [Fact]
    public void The_journal_gets_each_entry_with_fields_of_its_own()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The journal is systemd's.");
        string path = _folder.File("journal");
        using Socket journal = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        journal.Bind(new UnixDomainSocketEndPoint(path));
        using AuditTrail trail = new(_folder.Path, _said.Add, new AuditJournal(path));

        trail.Add(Entry("stop session nightly") with { Error = "one\nFLEECE_USER=root" });

        byte[] datagram = new byte[4096];
        string[] fields = Encoding.UTF8.GetString(datagram, 0, journal.Receive(datagram)).Split('\n');
        Assert.Contains("FLEECE_ACTION=session.stop", fields);
        Assert.Contains("FLEECE_TARGET=web/nightly", fields);
        Assert.Equal(["FLEECE_USER=alice"], fields.Where(field => field.StartsWith("FLEECE_USER=", StringComparison.Ordinal)));
    }

    private AuditTrail New(long maximumFileBytes = AuditTrail.MaximumFileBytes) =>
        new(_folder.Path, _said.Add, maximumFileBytes: maximumFileBytes);

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
