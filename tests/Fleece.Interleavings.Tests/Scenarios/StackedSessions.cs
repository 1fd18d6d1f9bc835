// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings.Scenarios;

/// <summary>
/// Two sessions on one disk, pinned at different instants; the newer one's filter stands on the older one's.
/// </summary>
public sealed class StackedSessions
{
    private const int G = Scenario.G;

    [Fact]
    public void Readers_of_two_stacked_sessions_against_a_write() => Explorer.Exhaust(2, s =>
    {
        (ModelSession older, ModelSession newer) = Start(s);
        s.Reader(() => older.Read(0, G));
        s.Reader(() => newer.Read(0, G));
        s.Guest(() => s.Write(0, G, 0xA1));
    });

    [Fact]
    public void Readers_and_consumers_of_two_stacked_sessions_against_two_writes() => Explorer.Sample(5_000, 4, s =>
    {
        (ModelSession older, ModelSession newer) = Start(s);
        s.Reader(() => older.Read(0, 3 * G));
        s.Reader(() => newer.Read(0, 3 * G));
        s.Reader(() => older.Consume(0, 2 * G));
        s.Guest(() => s.Write(0, 2 * G, 0xA1));
        s.Guest(() => s.Write(G, 2 * G, 0xA2));
    });

    [Fact]
    public void The_older_session_breaks_and_the_newer_one_does_not() => Explorer.Exhaust(2, s =>
    {
        (ModelSession older, ModelSession newer) = Start(s);
        older.Temp.FailingWrites = 1;
        s.Reader(() => Assert.Null(newer.Read(0, 2 * G)));
        s.Guest(() => Assert.Null(s.Write(0, 2 * G, 0xA1)));
    });

    // Granule 1 differs between the two instants and is in the older session's temp already.
    private static (ModelSession Older, ModelSession Newer) Start(Scenario s)
    {
        ModelSession older = s.Start(3);
        s.Write(G, G, 0xB1);
        return (older, s.AddSession());
    }
}
