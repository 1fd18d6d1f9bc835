// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Tests.Client;

/// <summary>A clock that goes on when the test says so; its timers are those of the system.</summary>
internal sealed class ManualTime : TimeProvider
{
    private long _ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Interlocked.Read(ref _ticks);

    public void Advance(TimeSpan by) => Interlocked.Add(ref _ticks, by.Ticks);
}
