// SPDX-License-Identifier: MIT
namespace Fleece.Qemu.Qmp;

/// <summary>How long a client of a monitor waits, and how much it keeps.</summary>
internal sealed record QmpOptions
{
    /// <summary>The defaults.</summary>
    public static QmpOptions Default { get; } = new();

    /// <summary>How long to wait for the monitor to greet. A monitor serves one client at a time, and clients come and go.</summary>
    public TimeSpan GreetingTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long to wait for the answer to a command. QEMU completes the guest's I/O before many commands take effect, so this
    /// covers slow storage.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long to wait for the answer to a question, and to the negotiation: they need no more than a turn of QEMU's main
    /// loop.</summary>
    public TimeSpan QueryTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long QEMU's monitor thread has to answer when the command did not get an answer in time. It takes less than a
    /// millisecond.</summary>
    public TimeSpan ProbeTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Bytes of the longest message that is read. QEMU's schema has some 200 KB; a guest with thousands of bitmaps takes more.
    /// </summary>
    public int MaximumMessageBytes { get; init; } = 32 << 20;

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
