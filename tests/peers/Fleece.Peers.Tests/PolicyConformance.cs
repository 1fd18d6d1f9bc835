// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.TestKit;

namespace Fleece.Peers.Tests;

/// <summary>Cases W1 to W7 of the conformance list: who loses when old data can't be kept. 1 MiB disk, full.</summary>
/// <remarks>Temp fails because its file system is full, a state that ends when the ballast is taken out.</remarks>
public sealed class PolicyConformance : IDisposable
{
    private const int DiskBytes = 1024 * 1024;

    private readonly MountedFolder _temp = new("tmpfs", "size=4m");

    [Fact]
    public async Task W1_break_snapshot_lets_the_write_through_and_a_later_read_is_not_permitted()
    {
        (ServedDisk served, Session session) = await StartAsync(CopyErrorPolicy.BreakSnapshot);
        await using ServedDisk disposal = served;
        FillTemp();

        await QemuIo.RunAsync(served.Uri, "write -P 0xa5 0 1M");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 0 1M", QemuIo.NotPermitted);
        Assert.Equal(SessionState.Broken, session.State);
        await QemuIo.RunAsync(served.Uri, "read -P 0xa5 0 1M");
    }

    // What is in temp could still be read; but nothing tells a client that this part is whole, so all of it is refused.
    [Fact]
    public async Task W1_a_broken_snapshot_refuses_also_what_was_never_overwritten()
    {
        (ServedDisk served, Session session) = await StartAsync(CopyErrorPolicy.BreakSnapshot);
        await using ServedDisk disposal = served;
        FillTemp();

        await QemuIo.RunAsync(served.Uri, "write -P 0xa5 0 64k");

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 512k 4k", QemuIo.NotPermitted);
    }

    // No room, as the wire says it, so that a guest's owner can stop the guest until there is some.
    [Fact]
    public async Task W2_break_guest_write_fails_the_write_and_a_later_read_succeeds()
    {
        (ServedDisk served, Session session) = await StartAsync(CopyErrorPolicy.BreakGuestWrite);
        await using ServedDisk disposal = served;
        FillTemp();

        await QemuIo.AssertRefusedAsync(served.Uri, "write -P 0xa5 0 1M", QemuIo.NoSpace);

        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M");
        await QemuIo.RunAsync(served.Uri, "read -P 0x5a 0 1M");
    }

    [Fact]
    public async Task W2_a_write_that_failed_succeeds_when_temp_has_room_again()
    {
        (ServedDisk served, Session session) = await StartAsync(CopyErrorPolicy.BreakGuestWrite);
        await using ServedDisk disposal = served;
        FillTemp();
        await using QemuIo guest = QemuIo.Connect(served.Uri);
        Assert.Contains(QemuIo.NoSpace, await guest.DoAsync("write -P 0xa5 0 1M"), StringComparison.Ordinal);

        EmptyTemp();

        Assert.Contains("wrote 1048576/1048576", await guest.DoAsync("write -P 0xa5 0 1M"), StringComparison.Ordinal);
        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M");
    }

    // The wire has no number for a timeout, so the client sees EIO.
    [Fact]
    public async Task W3_a_copy_that_takes_too_long_fails_the_guests_write_with_a_timeout()
    {
        using PausedTemp temp = await PausedTemp.StartAsync(DiskBytes);
        (ServedDisk served, Session session, QemuIo guest) = await WriteLateAsync(temp, CopyErrorPolicy.BreakGuestWrite);
        await using ServedDisk disposal = served;

        Assert.Contains(QemuIo.IoError, await guest.DoAsync("write -P 0xa5 512k 512k"), StringComparison.Ordinal);

        temp.Resume();
        await guest.DisposeAsync();
        await QemuIo.RunAsync(served.UriOf(session), "read -P 0x5a 0 1M");
        await QemuIo.RunAsync(served.Uri, "read -P 0xa5 0 512k", "read -P 0x5a 512k 512k");
    }

    [Fact]
    public async Task W4_a_copy_that_takes_too_long_breaks_the_snapshot()
    {
        using PausedTemp temp = await PausedTemp.StartAsync(DiskBytes);
        (ServedDisk served, Session session, QemuIo guest) = await WriteLateAsync(temp, CopyErrorPolicy.BreakSnapshot);
        await using ServedDisk disposal = served;

        Assert.Contains("wrote 524288/524288", await guest.DoAsync("write -P 0xa5 512k 512k"), StringComparison.Ordinal);

        await QemuIo.AssertRefusedAsync(served.UriOf(session), "read 0 1M", QemuIo.NotPermitted);
        Assert.Contains("timed out", session.BrokenBy, StringComparison.Ordinal);
        temp.Resume();
        await guest.DisposeAsync();
        await QemuIo.RunAsync(served.Uri, "read -P 0xa5 0 1M");
    }

    [Fact]
    public async Task W5_the_policy_break_snapshot_is_set_where_the_session_starts() =>
        await AssertGuestWinsAsync(new SessionOptions { OnCopyError = CopyErrorPolicy.BreakSnapshot }, guestWins: true);

    [Fact]
    public async Task W6_the_policy_break_guest_write_is_set_where_the_session_starts() =>
        await AssertGuestWinsAsync(new SessionOptions { OnCopyError = CopyErrorPolicy.BreakGuestWrite }, guestWins: false);

    // QEMU's default is the other way; Fleece never harms a guest unless told to.
    [Fact]
    public async Task W7_without_a_policy_the_snapshot_breaks_and_the_guest_goes_on() =>
        await AssertGuestWinsAsync(new SessionOptions(), guestWins: true);

    public void Dispose() => _temp.Dispose();

    private async Task AssertGuestWinsAsync(SessionOptions options, bool guestWins)
    {
        (ServedDisk served, Session session) = await StartAsync(options);
        await using ServedDisk disposal = served;
        FillTemp();

        await using QemuIo guest = QemuIo.Connect(served.Uri);
        string said = await guest.DoAsync("write -P 0xa5 0 1M");

        Assert.Contains(guestWins ? "wrote 1048576/1048576" : QemuIo.NoSpace, said, StringComparison.Ordinal);
        Assert.Equal(guestWins ? SessionState.Broken : SessionState.Active, session.State);
    }

    // The clock stands still for the first half of the disk and runs out as soon as the copy of the second one is waited for.
    private static async Task<(ServedDisk Served, Session Session, QemuIo Guest)> WriteLateAsync(PausedTemp temp, CopyErrorPolicy policy)
    {
        Peer.Need("qemu-io");
        ManualTime time = new();
        ServedDisk served = await ServedDisk.StartAsync(DiskBytes);
        await QemuIo.RunAsync(served.Uri, "write -P 0x5a 0 1M");
        Session session = await served.StartSessionAsync(new SessionOptions
        {
            OnCopyError = policy,
            TempPath = temp.Uri,
            Limits = new CopyLimits { Timeout = TimeSpan.FromSeconds(1), Time = time },
        });
        QemuIo guest = QemuIo.Connect(served.Uri);
        Assert.Contains("wrote 524288/524288", await guest.DoAsync("write -P 0xa5 0 512k"), StringComparison.Ordinal);
        temp.Pause();
        _ = TestKit.OwnThread.Run(() =>
        {
            SpinWait.SpinUntil(() => time.ArmedTimers != 0, TimeSpan.FromMinutes(5));
            time.Advance(TimeSpan.FromSeconds(1));
        });
        return (served, session, guest);
    }

    private Task<(ServedDisk Served, Session Session)> StartAsync(CopyErrorPolicy policy) =>
        StartAsync(new SessionOptions { OnCopyError = policy });

    private async Task<(ServedDisk Served, Session Session)> StartAsync(SessionOptions options)
    {
        Peer.Need("qemu-io");
        Assert.SkipWhen(_temp.SkipReason is not null, _temp.SkipReason ?? string.Empty);
        ServedDisk served = await ServedDisk.StartAsync(DiskBytes);
        await QemuIo.RunAsync(served.Uri, "write -P 0x5a 0 1M");
        return (served, await served.StartSessionAsync(options with { TempPath = _temp.Path }));
    }

    private void FillTemp()
    {
        using FileStream ballast = File.Create(Ballast);
        byte[] page = new byte[4096];
        try
        {
            while (true)
            {
                ballast.Write(page);
                ballast.Flush();
            }
        }
        catch (IOException)
        {
            // Full is what it was to be.
        }
    }

    private void EmptyTemp() => File.Delete(Ballast);

    private string Ballast => Path.Combine(_temp.Path, "ballast");
}
