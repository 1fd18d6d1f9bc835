// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>Connections to the monitors of real QEMUs.</summary>
public sealed class RealMonitorTests
{
    public static TheoryData<string> Programs => Guest.Programs;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AMonitorGreetsAndAnswers(string program)
    {
        await using Guest guest = await Guest.StartAsync(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        QemuStatusReply status = await new QemuMonitor(connection).QueryStatusAsync(TestContext.Current.CancellationToken);

        Assert.Equal(new QemuStatusReply(false, "prelaunch"), status);
        Assert.False(connection.Version.IsBefore(7, 0));
        Assert.True(connection.HasOutOfBand);
        Assert.NotNull(connection.PeerUserId);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ARefusalHasQemusClassAndReason(string program)
    {
        await using Guest guest = await Guest.StartAsync(program);
        await using QmpConnection connection = await guest.ConnectAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            () => connection.ExecuteAsync("nope", null, TestContext.Current.CancellationToken).AsTask());

        Assert.Equal(QemuErrors.CommandRefused, refused.Kind);
        Assert.Equal(
            new QmpRefusal("nope", QmpRefusal.CommandNotFound, "The command nope has not been found"), QmpRefusal.Of(refused));
    }
}
