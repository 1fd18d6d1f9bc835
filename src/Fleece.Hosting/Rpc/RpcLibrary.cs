// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Runtime.Loader;
using Fleece.Block;

namespace Fleece.Hosting.Rpc;

/// <summary>Finds Fleece.Rpc.dll and loads it when it is first needed.</summary>
/// <remarks>
/// <para>It is loaded, with all that it needs, into a context of its own: PowerShell has a Newtonsoft.Json of another version, and other
/// modules may have a StreamJsonRpc. Only Fleece's assemblies are shared, because the interfaces are theirs.</para>
/// <para>Threading. Safe from any thread.</para>
/// </remarks>
internal static class RpcLibrary
{
    /// <summary>The file's name.</summary>
    public const string FileName = "Fleece.Rpc.dll";

    /// <summary>Where it is looked for: dependencies/rpc beside this assembly.</summary>
    public static string ExpectedPath { get; } = Path.Combine(
        Path.GetDirectoryName(typeof(RpcLibrary).Assembly.Location) is { Length: > 0 } folder ? folder : AppContext.BaseDirectory,
        "dependencies",
        "rpc",
        FileName);

    private static readonly Lazy<IRpcLibrary> Loaded = new(() => Load(ExpectedPath));

    /// <summary>The library of the process.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/>, <see cref="BlockErrors.Unsupported"/>: it is not there, or
    /// can't be loaded.</exception>
    public static IRpcLibrary Load() => Loaded.Value;

    /// <summary>The library in a file.</summary>
    /// <inheritdoc cref="Load()" path="/exception"/>
    public static IRpcLibrary Load(string path)
    {
        try
        {
            Type[] types = new RpcContext(path).LoadFromAssemblyPath(path).GetTypes();
            Type type = Array.Find(types, candidate => candidate.IsClass && candidate.IsAssignableTo(typeof(IRpcLibrary)))
                ?? throw new TypeLoadException($"It has no class that implements {nameof(IRpcLibrary)}.");
            return (IRpcLibrary)Activator.CreateInstance(type)!;
        }
        catch (Exception failure)
            when (failure is IOException or UnauthorizedAccessException or BadImageFormatException or TypeLoadException
                or ReflectionTypeLoadException or MissingMemberException or TargetInvocationException)
        {
            throw new BlockException(
                failure is FileNotFoundException ? BlockErrors.NotFound : BlockErrors.Unsupported,
                $"A part of the module that speaks with hosts can't be loaded from '{path}': {failure.Message} Install the module again.",
                path,
                operation: "load",
                cause: failure);
        }
    }

    private sealed class RpcContext(string path) : AssemblyLoadContext("Fleece.Rpc")
    {
        private static readonly Assembly[] Shared = [typeof(IRpcLibrary).Assembly, typeof(BlockException).Assembly];

        private readonly string _folder = Path.GetDirectoryName(path)!;

        protected override Assembly? Load(AssemblyName assemblyName)
        {
            if (Array.Find(Shared, assembly => assembly.GetName().Name == assemblyName.Name) is { } shared)
            {
                return shared;
            }

            string candidate = Path.Combine(_folder, assemblyName.Name + ".dll");
            return File.Exists(candidate) ? LoadFromAssemblyPath(candidate) : null;
        }
    }
}
