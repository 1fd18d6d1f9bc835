// SPDX-License-Identifier: MIT
namespace Fleece.Hosting.Host;

/// <summary>A lock for each name: changes of one disk wait for each other, and for no other disk's.</summary>
/// <remarks>Threading. All members are safe from any thread. Names are compared without regard to case.</remarks>
internal sealed class NameLocks
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Held> _held = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Waits until the name is free.</summary>
    /// <returns>Gives it free when disposed.</returns>
    public async ValueTask<IDisposable> EnterAsync(string name, CancellationToken cancellationToken)
    {
        Held? held;
        lock (_lock)
        {
            if (!_held.TryGetValue(name, out held))
            {
                _held.Add(name, held = new Held(this, name));
            }

            held.Users++;
        }

        try
        {
            await held.Turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            return held;
        }
        catch
        {
            Leave(held);
            throw;
        }
    }

    private void Leave(Held held)
    {
        lock (_lock)
        {
            if (--held.Users == 0)
            {
                _held.Remove(held.Name);
            }
        }
    }

    private sealed class Held(NameLocks locks, string name) : IDisposable
    {
        public string Name => name;

        public SemaphoreSlim Turn { get; } = new(1, 1);

        public int Users { get; set; }

        public void Dispose()
        {
            Turn.Release();
            locks.Leave(this);
        }
    }
}
