// SPDX-License-Identifier: MIT
namespace Fleece.Interleavings;

/// <summary>
/// Stands in for the framework's lock under the alias SharedLock: who gets it is the scheduler's choice.
/// </summary>
internal sealed class ControlledLock
{
    private bool _held;

    public Scope EnterScope()
    {
        // Points inside a lock matter to those who look without it, so the holder can be preempted as well.
        Interleaving.Current?.Block("takes a lock", () => !_held);
        _held = true;
        return new Scope(this);
    }

    internal readonly struct Scope(ControlledLock owner) : IDisposable
    {
        public void Dispose() => owner._held = false;
    }
}
