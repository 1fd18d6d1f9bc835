// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Records;
using Fleece.Qemu.Tests.Guard;

namespace Fleece.Qemu.Tests.Sessions;

/// <summary>A session whose QEMU ends says so.</summary>
public sealed class EndedQemuTests
{
    public static TheoryData<string> Programs => NightGuest.Programs;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task A_session_is_broken_when_its_QEMU_has_ended_though_nothing_reads_it(string program)
    {
        await using NightGuest guest = await NightGuest.StartAsync(program);
        await using QemuGuests guests = new(new QemuGuestsOptions { Guard = () => GuardedChild.Program });
        IRunningSession session =
            (await guests.StartSessionsAsync(guest.SocketPath, [NightGuest.Device], new SessionOptions(), Stop))[0];
        Assert.Equal(SessionState.Active, session.Describe().State);

        await guest.QuitAsync();
        while (session.Describe().State == SessionState.Active)
        {
            await Task.Delay(10, Stop);
        }

        SessionInfo info = session.Describe();
        Assert.Equal(SessionState.Broken, info.State);
        Assert.StartsWith("QEMU ended, or closed the export", info.BrokenBy, StringComparison.Ordinal);
        await Assert.ThrowsAsync<BlockException>(async () => await session.Snapshot.ReadAsync(0, new byte[512], Stop));
        Assert.Equal(SessionState.Broken, session.Describe().State);
        _ = await session.EndAsync(isSuccess: false);
        Assert.Empty(guests.Sessions);
    }
}
